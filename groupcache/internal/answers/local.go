package answers

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/outcome"
	"github.com/holdfast-go/holdfast/groupcache/internal/peer"
	"github.com/holdfast-go/holdfast/groupcache/internal/process"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/tracing"
	"github.com/holdfast-go/holdfast/trace"
)

// Local answers the peers of a process, whichever way they come by.
type Local struct {
	Process *process.Process
	// Group is what answers for the group of a name, nil if there is none.
	Group func(name string) *Group
	// Forgetting drops all values of all groups.
	Forgetting func()
	// Greets is what the process says of itself.
	Greets func() wire.Greeting
}

func (l *Local) named(name string) (*Group, error) {
	if g := l.Group(name); g != nil {
		return g, nil
	}
	if l.Process.Closed() {
		return nil, wire.ErrEnding
	}
	return nil, wire.ErrNoGroup
}

// Get implements wire.Local.
func (l *Local) Get(ctx context.Context, group, key string, loading func()) (wire.Answer, error) {
	g, err := l.named(group)
	if err != nil {
		return wire.Answer{}, err
	}
	v, err := g.get(ctx, key, loading)
	if errors.Is(err, outcome.ErrClosed) {
		return wire.Answer{}, wire.ErrEnding
	}
	return g.answerOf(v, err), nil
}

// Find implements wire.Local.
func (l *Local) Find(group, key string) (wire.Answer, bool) {
	if l.Process.Tracer != nil {
		return wire.Answer{}, false
	}
	g := l.Group(group)
	if g == nil {
		return wire.Answer{}, false
	}
	return g.find(key)
}

// GetMulti implements wire.Local.
func (l *Local) GetMulti(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	g, err := l.named(group)
	if err != nil {
		return nil, err
	}
	answers := l.getMulti(ctx, g, keys)
	if l.Process.Closed() { // the loads were ended
		return nil, wire.ErrEnding
	}
	return answers, nil
}

func (l *Local) getMulti(ctx context.Context, g *Group, keys []string) []wire.Answer {
	if l.Process.Tracer == nil {
		return g.several(ctx, keys)
	}
	ctx, span := g.Shared.BeginSeveral(ctx, trace.Server, "get_multi", len(keys))
	answers := g.several(ctx, keys)
	span.End(peer.OutcomeOfAnswers(answers))
	return answers
}

// GetCached implements wire.Local.
func (l *Local) GetCached(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	g, err := l.named(group)
	if err != nil {
		return nil, err
	}
	span := l.begin(ctx, g, "get_cached", keys...)
	answers := g.cached(keys)
	if l.Process.Tracer != nil {
		span.End(peer.OutcomeOfAnswers(answers))
	}
	return answers, nil
}

// Set implements wire.Local.
func (l *Local) Set(ctx context.Context, group, key, value string, expire int64) error {
	g, err := l.named(group)
	switch {
	case err != nil:
		return err
	case int64(len(value)) > l.MaxValueSize():
		return wire.ErrTooLarge
	}
	span := l.begin(ctx, g, "set", key)
	g.Writer.SetHere(key, outcome.Value{Bytes: value, Expire: expire})
	span.End(trace.Outcome{Result: trace.OK})
	return nil
}

// Remove implements wire.Local.
func (l *Local) Remove(ctx context.Context, group string, keys ...string) error {
	g, err := l.named(group)
	if err != nil {
		return err
	}
	span := l.begin(ctx, g, "remove", keys...)
	for _, key := range keys {
		g.Writer.RemoveHere(key)
	}
	span.End(trace.Outcome{Result: trace.OK})
	return nil
}

// Sweep implements wire.Local.
func (l *Local) Sweep(ctx context.Context, group string, s writes.Sweep) error {
	g, err := l.named(group)
	if err != nil {
		return err
	}
	span := l.begin(ctx, g, "remove_prefix", s.Prefix)
	err = g.Writer.SweepHere(s)
	end := trace.Outcome{Result: trace.OK}
	if err != nil {
		end = trace.Outcome{Result: trace.Refused, Err: err}
	}
	span.End(end)
	return err
}

// begin begins the span of a request, which tells nobody without a tracer.
func (l *Local) begin(ctx context.Context, g *Group, name string, keys ...string) (s tracing.Span) {
	switch {
	case l.Process.Tracer == nil:
	case len(keys) == 1:
		_, s = g.Shared.Begin(ctx, trace.Server, name, keys[0])
	default:
		_, s = g.Shared.BeginSeveral(ctx, trace.Server, name, len(keys))
	}
	return s
}

// Written implements wire.Local.
func (l *Local) Written(_ context.Context, group string, within time.Duration, keys []string) ([]wire.Answer, error) {
	g, err := l.named(group)
	if err != nil {
		return nil, err
	}
	return g.Handover.Written(within, keys)
}

// Offer implements wire.Local.
func (l *Local) Offer(ctx context.Context, group, from string, keys []string) error {
	g, err := l.named(group)
	if err != nil {
		return err
	}
	return g.Handover.TakeOver(ctx, from, keys)
}

// Forget implements wire.Local.
func (l *Local) Forget() { l.Forgetting() }

// Greeting implements wire.Local.
func (l *Local) Greeting() wire.Greeting { return l.Greets() }

// Tracer implements wire.Local.
func (l *Local) Tracer() *tracing.Tracer { return l.Process.Tracer }

// MaxValueSize implements wire.Local.
func (l *Local) MaxValueSize() int64 { return l.Process.Limits().MaxValueSize }
