package line

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
)

const (
	// MaxKey is how long a key, with the name of its group, may be that is asked for here.
	MaxKey = 16 << 10
	// maxMessage is how long what is no value may be.
	maxMessage = 64 << 10
)

// Fits reports whether a key and a group are short enough.
func Fits(group, key string) bool { return len(group)+len(key) <= MaxKey }

// Trace is the headers of a trace, as multiwire has lists: names and values in turn. Nil is none.
type Trace []byte

// Get asks for a key. The error is wire.ErrNotTaken if the peer was not asked, or wire.ErrSilent if
// nothing was heard of it for too long. first is how long it took to be heard of. alive, if it is
// not nil, is told of signs of life.
func (l *Line) Get(ctx context.Context, q wire.Question, t Trace, alive func()) (a wire.Answer, first time.Duration, err error) {
	p, err := l.Begin(q, t, alive)
	if err != nil {
		return wire.Answer{}, 0, err
	}
	p.Wait(ctx)
	if a, first, err = p.Take(); errors.Is(err, wire.ErrLeft) {
		err = ctx.Err()
	}
	return a, first, err
}

// Begin is Get for a caller that waits by itself. The error is that of a question that was not
// asked.
func (l *Line) Begin(q wire.Question, t Trace, alive func()) (wire.Pending, error) {
	c := l.newCall(max(l.options.MaxValueSize, maxMessage)+maxMessage, alive)
	c.line, c.silence = l, int64(q.Silence)
	c.began = time.Since(l.began)
	if err := l.send(c, request{kind: frame.Get, group: q.Group, body: q.Key, trace: t}); err != nil {
		l.release(c)
		return wire.Pending{}, err
	}
	return wire.Pending{Waiting: c, On: l, ID: c.stream}, nil
}

// Done implements wire.Waiting.
func (c *call) Done() <-chan struct{} { return c.done }

// Take implements wire.Waiting.
func (c *call) Take() (a wire.Answer, first time.Duration, err error) {
	l := c.line
	defer l.release(c)
	if c.err != nil {
		return wire.Answer{}, 0, c.err
	}
	if first = time.Since(l.began) - c.began; c.first != 0 {
		first = time.Duration(c.first) - c.began
	}
	switch c.head.Kind {
	case frame.Value:
		if int64(len(c.value)) > l.options.MaxValueSize {
			return wire.Answer{}, 0, wire.ErrTooLarge
		}
		return wire.Answer{Value: c.value, Expire: c.expire, Code: http.StatusOK, Status: statusOK, Marked: true}, first, nil
	case frame.None:
		a, err = absence(c.body)
		return a, first, err
	}
	return wire.Answer{}, 0, wrong("an answer of kind %d to a Get", c.head.Kind)
}

// Leave implements wire.Shared. The call may be another one's by now: then its stream says so.
func (l *Line) Leave(w wire.Waiting, id uint32) {
	if c, ok := w.(*call); ok && l.leave(c, id) {
		c.err = wire.ErrLeft
		c.done <- struct{}{}
	}
}

const statusOK = "200 OK"

// absence is the answer that there is no value.
func absence(body []byte) (wire.Answer, error) {
	n, err := frame.ParseAbsence(body)
	outcome := wire.Outcome(n.Outcome)
	if err != nil || outcome != wire.NotFound && outcome != wire.LoadFailed {
		return wire.Answer{}, wrong("an answer without a value or a reason")
	}
	a := wire.Answer{Outcome: outcome, Message: n.Message, Code: int(n.Status), Marked: true}
	a.Status = strconv.Itoa(a.Code) + " " + http.StatusText(a.Code)
	return a, nil
}

// GetMulti asks for several keys.
func (l *Line) GetMulti(ctx context.Context, group string, keys []string, t Trace, alive func()) ([]wire.Answer, error) {
	return l.several(ctx, request{kind: frame.Multi, group: group, trace: t, body: list(keys...)}, len(keys), alive)
}

// GetCached asks for what the peer has in its cache of several keys.
func (l *Line) GetCached(ctx context.Context, group string, keys []string, t Trace) ([]wire.Answer, error) {
	return l.several(ctx, request{kind: frame.Cached, group: group, trace: t, body: list(keys...)}, len(keys), nil)
}

// Written asks which of several keys were set or removed lately.
func (l *Line) Written(ctx context.Context, group string, within time.Duration, keys []string) ([]wire.Answer, error) {
	parts := append([]string{strconv.FormatInt(within.Milliseconds(), 10)}, keys...)
	return l.several(ctx, request{kind: frame.Written, group: group, body: list(parts...)}, len(keys), nil)
}

func list(parts ...string) string { return string(multiwire.AppendRequest(nil, parts)) }

func (l *Line) several(ctx context.Context, r request, n int, alive func()) ([]wire.Answer, error) {
	c := l.newCall(l.options.MaxAnswers(n), alive)
	defer l.release(c)
	if err := l.ask(ctx, c, r); err != nil {
		return nil, err
	}
	if c.head.Kind != frame.Answers {
		return nil, wrong("an answer of kind %d to several keys", c.head.Kind)
	}
	answers, err := multiwire.ParseAnswers(c.body, n)
	if err != nil {
		return nil, wrong("%w", err)
	}
	return answers, nil
}

// Set stores a value at the peer. alive is told of what goes out.
func (l *Line) Set(ctx context.Context, group, key, value string, expire int64, t Trace, alive func()) error {
	return l.tell(ctx, request{kind: frame.Set, group: group, lead: frame.AppendSet(nil, key, expire), body: value, trace: t}, alive)
}

// Remove drops keys from the peer's caches.
func (l *Line) Remove(ctx context.Context, group string, t Trace, keys ...string) error {
	return l.tell(ctx, request{kind: frame.Remove, group: group, body: list(keys...), trace: t}, nil)
}

// Sweep drops all keys that begin with a prefix.
func (l *Line) Sweep(ctx context.Context, group string, t Trace, s writes.Sweep) error {
	return l.tell(ctx, request{kind: frame.Sweep, group: group, body: list(string(s.Phase), s.ID, s.Prefix), trace: t}, nil)
}

// Offer tells the peer that the process at an address has the values of keys.
func (l *Line) Offer(ctx context.Context, group, from string, keys []string) error {
	return l.tell(ctx, request{kind: frame.Offer, group: group, body: list(append([]string{from}, keys...)...)}, nil)
}

// Forget lets the peer drop all that it has.
func (l *Line) Forget(ctx context.Context) error {
	return l.tell(ctx, request{kind: frame.Forget}, nil)
}

// tell makes a request that is answered by Done.
func (l *Line) tell(ctx context.Context, r request, alive func()) error {
	stamp, done := l.options.Stamp()
	defer done()
	var room [64]byte
	r.lead = append(stamp.Append(room[:0]), r.lead...)
	c := l.newCall(maxMessage, alive)
	defer l.release(c)
	if err := l.ask(ctx, c, r); err != nil {
		return err
	}
	if c.head.Kind != frame.Done {
		return wrong("an answer of kind %d to what was told", c.head.Kind)
	}
	return nil
}

// Probe asks the peer for a sign that the line is one.
func (l *Line) Probe(ctx context.Context) (wire.Greeting, error) {
	c := l.newCall(maxMessage, nil)
	defer l.release(c)
	if err := l.ask(ctx, c, request{kind: frame.Probe}); err != nil {
		return wire.Greeting{}, err
	}
	if c.head.Kind != frame.Greeting {
		return wire.Greeting{}, wrong("an answer of kind %d to a greeting", c.head.Kind)
	}
	parts, err := multiwire.ParseRequest(c.body)
	if err != nil || len(parts) != 2 {
		return wire.Greeting{}, errors.Join(wrong("a greeting of %d parts", len(parts)), err)
	}
	return wire.Greeting{Marked: true, Ring: parts[0], RingInUse: parts[1] != ""}, nil
}
