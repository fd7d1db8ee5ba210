SELECT
    time_bucket('${interval}', timestamp) AS metric_timestamp,
    AVG(value)                             AS metric_value
FROM metrics_numeric_latest_version
WHERE model_id   = '{{your-model-uuid}}'
  AND metric_name = 'error_rate'
  AND timestamp  BETWEEN '${start_time}' AND '${end_time}'
GROUP BY metric_timestamp
ORDER BY metric_timestamp
