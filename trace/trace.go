// Package trace connects the clients of Holdfast to a tracer, by an interface of two calls: one
// when an operation begins and one when it ends. Set a Tracer as the Trace of a client's Options.
// Without one, the default, tracing costs one comparison.
//
// Module github.com/holdfast-go/holdfast/otel has a Tracer for OpenTelemetry.
package trace

import (
	"context"
	"time"
)

// Tracer observes operations. It is called by many goroutines at once, on the path of the
// operation, which waits for it. One that panics is logged, once, and the operation goes on
// without it.
type Tracer interface {
	// Begin is called when an operation begins, and returns its Span, or nil if its end is of no
	// interest. The operation continues with the returned context, which must be ctx or derived
	// from it.
	Begin(ctx context.Context, op Operation) (context.Context, Span)
}

// Span is an operation under way.
type Span interface {
	// End is called once, with the outcome.
	End(outcome Outcome)
}

// Propagator is implemented by a Tracer that can take a trace from one process to another. The
// requests between the peers of a groupcache carry it then, over HTTP and over gRPC.
type Propagator interface {
	// Inject calls set for each header that a request with this context is to have.
	Inject(ctx context.Context, set func(key, value string))
	// Extract returns ctx with the trace that the headers of a request name. Get looks a header up;
	// it returns "" for one that is absent.
	Extract(ctx context.Context, get func(key string) string) context.Context
}

// The systems that operations are on.
const (
	Memcached   = "memcached"
	Redis       = "redis"
	Autorefresh = "autorefresh"
	Groupcache  = "groupcache"
)

// Kind says where an operation is carried out.
type Kind uint8

const (
	// Internal is within this process: a wait, or a call of a function of the user's.
	Internal Kind = iota
	// Client is a request to another process.
	Client
	// Server is a request of another process to this one.
	Server
)

// Operation describes an operation that begins. Fields that do not apply are zero.
type Operation struct {
	// System is one of the systems above, such as Memcached; Client is the Name of the client,
	// cache or instance, as in its metrics.
	System, Client string
	// Kind says where it is carried out.
	Kind Kind
	// Name is the operation's: of memcached "get", "get_multi" and so on, as in its metrics; of
	// redis the command, such as "GET", and for several at once "PIPELINE GET", or "PIPELINE" if
	// they differ; of autorefresh "wait", "load" and "refresh"; of groupcache "get", "get_multi",
	// "load", "get_cached", "set", "remove" and "remove_prefix". The names of a program are few.
	Name string
	// Namespace is the number of the database of redis, the group of groupcache.
	Namespace string
	// Primary is the name by which the sentinels know the primary.
	Primary string
	// Endpoint is the server, primary, replica or peer that is asked, as host:port, URL or path of
	// a unix socket. Where that can change on the way, Outcome has the last one.
	Endpoint string
	// Keys is how many keys, or commands of a pipeline, the operation is for.
	Keys int
	// Key is the key if there is one, and it is known, and a string. It may be personal, as a
	// user's name.
	Key string
}

// The results of operations.
const (
	// OK is a success that is neither Hit nor Miss.
	OK = "ok"
	// Hit and Miss are the answers of a cache that has the key, or at least one of them, or not.
	Hit  = "hit"
	Miss = "miss"
	// NotStored and Conflict are the answers of memcached to Add and the like, and to
	// CompareAndSwap.
	NotStored = "not_stored"
	Conflict  = "conflict"
	// ServerError is an answer of the server's that is an error.
	ServerError = "server_error"
	// Refused was not tried because its server was down, Busy because too many were under way.
	Refused = "refused"
	Busy    = "busy"
	// Timeout got no answer in time, Failed none for another reason.
	Timeout = "timeout"
	Failed  = "failed"
	// Canceled was given up by its caller.
	Canceled = "canceled"
)

// Outcome is how an operation ended.
type Outcome struct {
	// Result is one of the words above.
	Result string
	// Err is the error, nil for the results up to Conflict. Its text may have keys in it.
	Err error
	// Code is the server's name of its error, such as "WRONGTYPE" of redis; empty if it has none.
	Code string
	// Endpoint is the one that was asked last, empty for that of Operation.
	Endpoint string
	// Items is how many keys had a value.
	Items int
	// Ended is when the answer was there; the zero time is now.
	Ended time.Time
}

// IsError reports whether the operation failed: whether its Result is none of those up to Conflict.
func (o Outcome) IsError() bool {
	switch o.Result {
	case OK, Hit, Miss, NotStored, Conflict:
		return false
	}
	return true
}
