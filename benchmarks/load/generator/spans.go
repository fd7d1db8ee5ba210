package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
)

// model is one of the eight that the traffic uses, with its prices in USD per token: those of the collector's
// configuration, so that the cost both sides compute can be held against what was sent.
type model struct {
	provider, request, response string
	input, output, cached       float64
}

var models = []model{
	{"openai", "gpt-4o", "gpt-4o-2024-11-20", 2.5e-6, 10e-6, 1.25e-6},
	{"openai", "gpt-4o-mini", "gpt-4o-mini-2024-07-18", 0.15e-6, 0.6e-6, 0.075e-6},
	{"openai", "gpt-4.1", "gpt-4.1-2025-04-14", 2e-6, 8e-6, 0.5e-6},
	{"openai", "o3", "o3-2025-04-16", 2e-6, 8e-6, 0.5e-6},
	{"anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5-20250929", 3e-6, 15e-6, 0.3e-6},
	{"anthropic", "claude-haiku-4-5", "claude-haiku-4-5-20251001", 1e-6, 5e-6, 0.1e-6},
	{"gcp.gemini", "gemini-2.5-pro", "gemini-2.5-pro", 1.25e-6, 10e-6, 0.31e-6},
	{"aws.bedrock", "us.meta.llama3-3-70b-instruct-v1:0", "us.meta.llama3-3-70b-instruct-v1:0", 0.72e-6, 0.72e-6, 0.72e-6},
}

func (m model) cost(input, output, cached int64) float64 {
	return float64(input-cached)*m.input + float64(output)*m.output + float64(cached)*m.cached
}

// call is what varies from one span to the next.
type call struct {
	model                 model
	input, output, cached int64
	conversation, tenant  string
	feature, responseID   string
	traceID, spanID       []byte
	start, end            uint64
	failed                bool
	body                  int
}

func randomCall(random *rand.Rand, body int) call {
	m := models[random.IntN(len(models))]
	input := 200 + random.Int64N(1800)
	end := random.Uint64()
	return call{
		model: m, input: input, output: 20 + random.Int64N(480), cached: random.Int64N(input / 2),
		conversation: conversationName(random.IntN(1e9)), tenant: tenantName(random.IntN(1e5)),
		feature: []string{"chat", "search", "summaries"}[random.IntN(3)], responseID: fmt.Sprintf("chatcmpl-%016x", random.Uint64()),
		traceID: randomBytes(random, 16), spanID: randomBytes(random, 8), start: random.Uint64(), end: end,
		failed: random.IntN(50) == 0, body: body,
	}
}

func conversationName(number int) string { return fmt.Sprintf("conv-%09d", number) }

func tenantName(number int) string { return fmt.Sprintf("tenant-%05d", number) }

// span has 22 attributes of the current OpenTelemetry GenAI conventions; a body adds the two that carry messages.
func (c call) span() *trace.Span {
	attributes := []*common.KeyValue{
		text("gen_ai.operation.name", "chat"),
		text("gen_ai.provider.name", c.model.provider),
		text("gen_ai.request.model", c.model.request),
		text("gen_ai.response.model", c.model.response),
		text("gen_ai.response.id", c.responseID),
		text("gen_ai.conversation.id", c.conversation),
		text("gen_ai.agent.name", "support-agent"),
		text("gen_ai.output.type", "text"),
		double("gen_ai.request.temperature", 0.2),
		double("gen_ai.request.top_p", 0.95),
		integer("gen_ai.request.max_tokens", 1024),
		array("gen_ai.response.finish_reasons", "stop"),
		integer("gen_ai.usage.input_tokens", c.input),
		integer("gen_ai.usage.output_tokens", c.output),
		integer("gen_ai.usage.cache_read.input_tokens", c.cached),
		text("server.address", "api.provider.example"),
		integer("server.port", 443),
		text("app.tenant.id", c.tenant),
		text("app.feature", c.feature),
		text("app.prompt.version", "v17"),
		text("user.id", "user-4711"),
		text("session.id", "session-0815"),
	}
	if c.body > 0 {
		attributes = append(attributes,
			text("gen_ai.input.messages", prose(c.body*3/4)), text("gen_ai.output.messages", prose(c.body-c.body*3/4)))
	}
	status := &trace.Status{}
	if c.failed {
		status.Code = trace.Status_STATUS_CODE_ERROR
	}
	return &trace.Span{
		TraceId: c.traceID, SpanId: c.spanID, Name: "chat " + c.model.request, Kind: trace.Span_SPAN_KIND_CLIENT,
		StartTimeUnixNano: c.start, EndTimeUnixNano: c.end, Attributes: attributes, Status: status,
	}
}

func requestOf(spans []*trace.Span) *collectortrace.ExportTraceServiceRequest {
	return &collectortrace.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{{
		Resource: &resource.Resource{Attributes: []*common.KeyValue{
			text("service.name", "assistant"), text("service.version", "1.4.2"), text("service.instance.id", "assistant-7f9c"),
			text("deployment.environment.name", "production"), text("telemetry.sdk.language", "python"),
			text("telemetry.sdk.name", "opentelemetry"), text("telemetry.sdk.version", "1.45.0"),
		}},
		ScopeSpans: []*trace.ScopeSpans{{
			Scope: &common.InstrumentationScope{Name: "opentelemetry.instrumentation.openai_v2", Version: "2.4b0"},
			Spans: spans,
		}},
	}}}
}

// prose looks like a prompt and holds no digits, so that a sentinel is never found in it.
func prose(size int) string {
	const line = "The customer asks why the parcel has not arrived, and when the refund will be paid. "
	return strings.Repeat(line, size/len(line)+1)[:size]
}

func text(key, value string) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func integer(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}

func double(key string, value float64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: value}}}
}

func array(key string, values ...string) *common.KeyValue {
	list := &common.ArrayValue{}
	for _, value := range values {
		list.Values = append(list.Values, &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}})
	}
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: list}}}
}

func randomBytes(random *rand.Rand, size int) []byte {
	bytes := make([]byte, size)
	for i := range bytes {
		bytes[i] = byte(random.Uint32())
	}
	return bytes
}
