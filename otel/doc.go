// Package holdfastotel has the clients of Holdfast tell OpenTelemetry what they do: set the Tracer
// that New makes as the Trace of a client's Options.
//
//	tracer := holdfastotel.New(holdfastotel.Options{})
//	client, err := memcache.NewWithOptions(nil, memcache.Options{Servers: servers, Trace: tracer})
//
// Requests to memcached and redis are spans by the stable semantic conventions for database clients
// (https://opentelemetry.io/docs/specs/semconv/database/database-spans/). Requests between the
// peers of a groupcache are client and server spans with the attributes rpc.system.name and
// rpc.method, and carry the trace. All else is internal: waits, and calls of the user's functions.
// Besides, spans have the attributes whose names begin with "holdfast.".
//
// It is a module of its own, so that those who do not trace need not depend on OpenTelemetry. It
// needs the API only; the SDK is the caller's.
package holdfastotel
