SELECT
    time_bucket('${interval}', timestamp) AS metric_timestamp,
    COALESCE(SUM(value), 0)               AS metric_value
FROM metrics_numeric_latest_version
WHERE model_id   = '{{your-model-uuid}}'
  AND metric_name = 'inference_count'
  AND timestamp  BETWEEN '${start_time}' AND '${end_time}'
GROUP BY metric_timestamp
ORDER BY metric_timestamp
