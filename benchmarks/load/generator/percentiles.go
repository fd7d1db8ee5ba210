package main

import "slices"

// percentiles of some values, nearest rank; all zero for none.
type percentiles struct {
	Count int     `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

func percentilesOf(values []float64) percentiles {
	if len(values) == 0 {
		return percentiles{}
	}
	slices.Sort(values)
	rank := func(share float64) float64 {
		return values[min(len(values)-1, int(share*float64(len(values))))]
	}
	return percentiles{Count: len(values), P50: rank(0.5), P90: rank(0.9), P99: rank(0.99), Max: values[len(values)-1]}
}
