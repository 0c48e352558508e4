package route

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"

	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/sentinel/internal/follow"
	"github.com/holdfast-go/holdfast/sentinel/internal/outcome"
	"github.com/holdfast-go/holdfast/sentinel/internal/wire"
	"github.com/holdfast-go/holdfast/trace"
)

// Tracer tells the user's tracer of requests to primaries and replicas.
type Tracer struct {
	*tracing.Tracer
	database string

	mu    sync.RWMutex
	names map[string]string // of commands, as they are sent; guarded by mu
}

// NewTracer returns nil if nobody is to be told. Database is the number of the servers'.
func NewTracer(t *tracing.Tracer, database int) *Tracer {
	if t == nil {
		return nil
	}
	return &Tracer{Tracer: t, database: strconv.Itoa(database), names: make(map[string]string)}
}

// Request begins the span of a request for the primary of a name.
func (t *Tracer) Request(ctx context.Context, r wire.Request, primary, addr string) (context.Context, tracing.Span) {
	return t.Begin(ctx, trace.Operation{
		Kind: trace.Client, Name: t.name(r), Namespace: t.database, Primary: primary, Endpoint: addr, Keys: r.Commands(),
	})
}

// Unsent tells of an action for a primary, at an address, that did not come to send its requests.
func (t *Tracer) Unsent(ctx context.Context, primary, addr string, err error) {
	_, span := t.Begin(ctx, trace.Operation{Kind: trace.Client, Namespace: t.database, Primary: primary, Endpoint: addr})
	span.End(OutcomeOf(err, addr))
}

const (
	// maxCommand is how long the name of a command is in a span at most, maxCommands how many are
	// kept.
	maxCommand  = 64
	maxCommands = 1024
)

// name is the name of a request: that of its command, or of its commands if they are the same. It
// is made once.
func (t *Tracer) name(r wire.Request) string {
	command, same := r.Command()
	if !same {
		return "PIPELINE"
	}
	if r.Commands() > 1 {
		var room [2 * maxCommand]byte
		command = append(append(room[:0], "PIPELINE "...), command...)
	}
	t.mu.RLock()
	name, ok := t.names[string(command)]
	t.mu.RUnlock()
	if ok {
		return name
	}
	name = strings.ToValidUTF8(strings.ToUpper(string(command[:min(len(command), maxCommand)])), "?")
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.names) < maxCommands && len(command) <= maxCommand {
		t.names[string(command)] = name
	}
	return name
}

// OutcomeOf describes, for a tracer, a request that ended with err at an address.
func OutcomeOf(err error, addr string) trace.Outcome {
	o := trace.Outcome{Result: trace.OK, Endpoint: addr}
	if err == nil {
		return o
	}
	o.Err = err
	if errors.Is(err, outcome.ErrNoPrimary) || errors.Is(err, outcome.ErrNoReplica) || errors.Is(err, outcome.ErrClosed) { // also if an error reply is why
		o.Result = trace.Refused
		return o
	}
	text, replied := wire.ErrorReply(err)
	switch {
	case replied:
		o.Result, o.Code = trace.ServerError, errorCode(text)
	case errors.Is(err, outcome.ErrBusy):
		o.Result = trace.Busy
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		o.Result = trace.Canceled
	case errors.Is(err, outcome.ErrFailover):
		o.Result = trace.Refused
	case errors.Is(err, wire.ErrStuck), errors.Is(err, follow.ErrHung):
		o.Result = trace.Timeout
	default:
		o.Result = trace.Failed
	}
	return o
}

// errorCode is the first word of an error reply, by which redis names the error; scripts may return
// others.
func errorCode(text string) string {
	code, _, _ := strings.Cut(text, " ")
	if len(code) > maxCommand || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != "" {
		return ""
	}
	return code
}
