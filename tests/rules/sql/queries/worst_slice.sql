SELECT
    bucket                AS metric_timestamp,
    MIN(slice_avg)        AS metric_value
FROM (
    SELECT
        time_bucket('${interval}', timestamp) AS bucket,
        AVG(value)                             AS slice_avg
    FROM metrics_numeric_latest_version
    WHERE model_id   = '{{your-model-uuid}}'
      AND metric_name = 'accuracy'
      AND timestamp  BETWEEN '${start_time}' AND '${end_time}'
    GROUP BY bucket, dimensions->>'model_version'
) slices
GROUP BY bucket
ORDER BY bucket
