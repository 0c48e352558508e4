package holdfastotel

import (
	"net"
	"net/url"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/holdfast-go/holdfast/trace"
)

// The attributes of the conventions, and our own.
const (
	keySystem     = attribute.Key("db.system.name")
	keyOperation  = attribute.Key("db.operation.name")
	keyNamespace  = attribute.Key("db.namespace")
	keyBatchSize  = attribute.Key("db.operation.batch.size")
	keyStatusCode = attribute.Key("db.response.status_code")
	keyErrorType  = attribute.Key("error.type")
	keyAddress    = attribute.Key("server.address")
	keyPort       = attribute.Key("server.port")
	keyRPCSystem  = attribute.Key("rpc.system.name")
	keyRPCMethod  = attribute.Key("rpc.method")

	keyClient  = attribute.Key("holdfast.client")
	keyResult  = attribute.Key("holdfast.result")
	keyPrimary = attribute.Key("holdfast.primary")
	keyGroup   = attribute.Key("holdfast.group")
	keyKeys    = attribute.Key("holdfast.keys")
	keyItems   = attribute.Key("holdfast.items")
	keyKey     = attribute.Key("holdfast.key")
)

// kind is what operations have in common that begin alike.
type kind struct {
	system, client, name, namespace, primary, endpoint string
	kind                                               trace.Kind
}

// start is what their spans start with.
type start struct {
	name    string
	options []oteltrace.SpanStartOption
}

func isDatabase(system string) bool { return system == trace.Memcached || system == trace.Redis }

// prepare makes the name and the attributes of the spans of a kind.
func (k kind) prepare() *start {
	attributes := []attribute.KeyValue{keyClient.String(text(k.client))}
	add := func(key attribute.Key, value string) {
		if value != "" {
			attributes = append(attributes, key.String(text(value)))
		}
	}
	name := k.system + " " + k.name
	switch {
	case isDatabase(k.system):
		name = k.databaseName()
		add(keySystem, k.system)
		add(keyOperation, k.name)
		add(keyNamespace, k.namespace)
		add(keyPrimary, k.primary)
	case k.kind != trace.Internal:
		name = k.system + "/" + k.name
		add(keyRPCSystem, k.system)
		add(keyRPCMethod, name)
		add(keyGroup, k.namespace)
	default:
		add(keyGroup, k.namespace)
	}
	attributes = append(attributes, server(k.endpoint)...)
	return &start{text(name), []oteltrace.SpanStartOption{
		oteltrace.WithSpanKind(k.spanKind()), oteltrace.WithAttributes(attributes...),
	}}
}

// text is a string that can be exported: one that is not UTF-8 would lose all spans of its batch.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// databaseName is the name of a span by the conventions: the operation, and what it is for.
func (k kind) databaseName() string {
	if k.name == "" {
		return k.system
	}
	target := k.namespace
	if target == "" {
		target = k.endpoint
	}
	return strings.TrimSuffix(k.name+" "+target, " ")
}

func (k kind) spanKind() oteltrace.SpanKind {
	switch k.kind {
	case trace.Client:
		return oteltrace.SpanKindClient
	case trace.Server:
		return oteltrace.SpanKindServer
	}
	return oteltrace.SpanKindInternal
}

// server are the attributes of an endpoint: host:port, a URL or the path of a unix socket.
func server(endpoint string) []attribute.KeyValue {
	if endpoint == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(endpoint)
	if u, bad := url.Parse(endpoint); bad == nil && u.Host != "" {
		host, port, err = u.Hostname(), u.Port(), nil
	}
	if err != nil {
		return []attribute.KeyValue{keyAddress.String(text(endpoint))}
	}
	attributes := []attribute.KeyValue{keyAddress.String(text(host))}
	if n, err := strconv.Atoi(port); err == nil {
		attributes = append(attributes, keyPort.Int(n))
	}
	return attributes
}
