WITH baseline AS (
    SELECT AVG(value) AS avg_rate
    FROM metrics_numeric_latest_version
    WHERE model_id   = '{{your-model-uuid}}'
      AND metric_name = 'error_rate'
      AND timestamp  BETWEEN '${start_time}'::timestamptz - INTERVAL '24 hours'
                         AND '${start_time}'::timestamptz
),
current_period AS (
    SELECT
        time_bucket('${interval}', timestamp) AS metric_timestamp,
        AVG(value)                             AS current_rate
    FROM metrics_numeric_latest_version
    WHERE model_id   = '{{your-model-uuid}}'
      AND metric_name = 'error_rate'
      AND timestamp  BETWEEN '${start_time}' AND '${end_time}'
    GROUP BY metric_timestamp
)
SELECT
    c.metric_timestamp,
    c.current_rate / NULLIF(b.avg_rate, 0) AS metric_value
FROM current_period c
CROSS JOIN baseline b
ORDER BY c.metric_timestamp
