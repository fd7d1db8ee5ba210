SELECT
    time_bucket('${interval}', timestamp)                                       AS metric_timestamp,
    kll_float_sketch_get_quantile(kll_float_sketch_merge(value), 0.95)          AS metric_value
FROM metrics_sketch_latest_version
WHERE model_id   = '{{your-model-uuid}}'
  AND metric_name = 'response_latency_ms'
  AND timestamp  BETWEEN '${start_time}' AND '${end_time}'
GROUP BY metric_timestamp
ORDER BY metric_timestamp
