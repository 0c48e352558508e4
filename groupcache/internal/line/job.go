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

// job is a request that a goroutine carries out.
type job struct {
	session *Session
	stream  uint32
	kind    frame.Kind
	group   string
	trace   []byte
	body    []byte
}

// errNotUnderstood is the error of a request that this version does not know.
var errNotUnderstood = errors.New("not understood")

// errPanicked is the error of a request that has made the user's code panic, or end its goroutine.
var errPanicked = errors.New("the request panicked")

// errCanceled is the error of what the caller did not wait for.
var errCanceled = errors.New("its caller has left")

// errStale is the error of what came too late.
var errStale = errors.New("it was given up before, or is too old")

func (j *job) run(ctx context.Context) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil { // as net/http does: one request must not end the process
			j.session.server.Panicked(v)
		}
		j.finish(errPanicked, 0, nil) // also if the goroutine was ended: its caller waits
	}()
	j.carryOut(ctx)
	returned = true
}

func (j *job) carryOut(ctx context.Context) {
	local := j.session.server.Local
	if len(j.trace) > 0 {
		ctx = j.extract(ctx)
	}
	switch j.kind {
	case frame.Get:
		j.get(ctx)
	case frame.Cached, frame.Multi, frame.Written:
		j.severalAnswered(ctx)
	case frame.Set, frame.Remove, frame.Sweep, frame.Offer, frame.Forget:
		j.finish(j.told(ctx), frame.Done, nil)
	case frame.Probe:
		g := local.Greeting()
		inUse := ""
		if g.RingInUse {
			inUse = "1"
		}
		j.finish(nil, frame.Greeting, multiwire.AppendRequest(nil, []string{g.Ring, inUse}))
	default:
		j.finish(errNotUnderstood, 0, nil)
	}
}

func (j *job) extract(ctx context.Context) context.Context {
	list, err := multiwire.ParseRequest(j.trace)
	if err != nil {
		return ctx
	}
	return j.session.server.Local.Tracer().Extract(ctx, func(key string) string {
		for i := 0; i+1 < len(list); i += 2 {
			if list[i] == key {
				return list[i+1]
			}
		}
		return ""
	})
}

func (j *job) get(ctx context.Context) {
	x := j.session
	var signs *wire.Signs
	key := view(j.body)
	defer func() { signs.Stop() }() // if it panics
	a, err := x.server.Local.Get(ctx, j.group, key, func() { signs = j.showLife() })
	signs.Stop()
	switch {
	case err != nil:
		j.finish(err, 0, nil)
	case a.Outcome == wire.Found:
		x.out.mu.Lock()
		x.waitLocked()
		j.endLocked()
		x.appendValueLocked(j.stream, a)
		x.out.gatherUnlocking()
	default:
		status, message := x.server.Explain(ctx, j.group, key, a)
		outcome := wire.LoadFailed
		if status == http.StatusNotFound {
			outcome = wire.NotFound
		}
		n := frame.Absence{Outcome: uint8(outcome), Status: uint16(status), Message: message[:min(len(message), maxMessage)]}
		j.finish(nil, frame.None, n.Append(nil))
	}
}

// size is how many bytes a request has.
func (j *job) size() int { return len(j.group) + len(j.trace) + len(j.body) }

// endLocked has the request be no longer under way: its answer follows.
func (j *job) endLocked() {
	delete(j.session.active, j.stream)
	j.session.held -= j.size()
}

// severalAnswered answers a request for several keys. The answer is a copy of the cached value,
// many times as long as the request: so one at a time is made, and no more while the peer does not
// take those that are.
func (j *job) severalAnswered(ctx context.Context) {
	x := j.session
	var signs *wire.Signs
	defer func() { signs.Stop() }() // if it panics
	if j.kind == frame.Multi {
		signs = j.showLife()
	}
	answers, err := j.several(ctx)
	if err != nil {
		signs.Stop()
		j.finish(err, 0, nil)
		return
	}
	x.building.Lock()
	defer x.building.Unlock()
	x.out.mu.Lock()
	x.waitBuiltLocked()
	x.out.mu.Unlock()
	body := multiwire.AppendAnswers(nil, answers)
	signs.Stop()
	j.finish(nil, frame.Answers, body)
}

// showLife begins to tell the peer that its request is worked at.
func (j *job) showLife() *wire.Signs {
	w := &j.session.out
	return wire.StartSigns(func() error {
		w.mu.Lock()
		if w.err != nil {
			defer w.mu.Unlock()
			return w.err
		}
		w.appendLocked(frame.Head{Kind: frame.Loading, Stream: j.stream}, nil, "")
		w.handUnlocking()
		return nil
	})
}

func (j *job) several(ctx context.Context) ([]wire.Answer, error) {
	local := j.session.server.Local
	keys, err := multiwire.ParseRequest(j.body)
	switch {
	case err != nil:
		return nil, errNotUnderstood
	case j.kind == frame.Cached:
		return local.GetCached(ctx, j.group, keys)
	case j.kind == frame.Written:
		if len(keys) == 0 {
			return nil, errNotUnderstood
		}
		ms, err := strconv.ParseInt(keys[0], 10, 32)
		if err != nil {
			return nil, errNotUnderstood
		}
		return local.Written(ctx, j.group, time.Duration(ms)*time.Millisecond, keys[1:])
	}
	return local.GetMulti(ctx, j.group, keys)
}

// told carries out what tells this process something. What the caller did not wait for is not
// carried out any more: jobs overtake each other, and what the caller told next may be done.
func (j *job) told(ctx context.Context) error {
	local := j.session.server.Local
	stamp, body, err := frame.ParseStamp(j.body)
	if err != nil {
		return errNotUnderstood
	}
	if fresh := j.session.server.Fresh; fresh != nil && !fresh(stamp) {
		return errStale
	}
	if ctx.Err() != nil {
		return errCanceled
	}
	switch j.kind {
	case frame.Forget:
		local.Forget()
		return nil
	case frame.Set:
		key, value, expire, err := frame.ParseSet(body)
		if err != nil {
			return errNotUnderstood
		}
		k, v := string(key), string(value)
		if ctx.Err() != nil { // that took its time
			return errCanceled
		}
		return local.Set(ctx, j.group, k, v, expire)
	}
	parts, err := multiwire.ParseRequest(body)
	if j.kind == frame.Sweep || j.kind == frame.Offer { // they may take their time
		signs := j.showLife()
		defer signs.Stop()
	}
	switch {
	case err != nil:
	case j.kind == frame.Remove:
		return local.Remove(ctx, j.group, parts...)
	case j.kind == frame.Sweep && len(parts) == 3:
		return local.Sweep(ctx, j.group, writes.Sweep{Phase: writes.Phase(parts[0]), ID: parts[1], Prefix: parts[2]})
	case j.kind == frame.Offer && len(parts) > 0:
		return local.Offer(ctx, j.group, parts[0], parts[1:])
	}
	return errNotUnderstood
}

// finish gives the last answer: the body, or why there is none.
func (j *job) finish(err error, kind frame.Kind, body []byte) {
	x := j.session
	var text string
	if err != nil {
		text = err.Error() // a Getter's code, which is not to run under the lock
	}
	x.out.mu.Lock()
	x.waitLocked()
	j.endLocked()
	if err != nil {
		x.appendRefusalLocked(j.stream, codeOf(err), text)
	} else {
		x.out.appendBuiltLocked(frame.Head{Kind: kind, Stream: j.stream}, view(body))
	}
	x.out.gatherUnlocking()
}

func codeOf(err error) frame.Code {
	switch {
	case errors.Is(err, wire.ErrNoGroup):
		return frame.NoGroup
	case errors.Is(err, wire.ErrTooLarge):
		return frame.TooLarge
	case errors.Is(err, wire.ErrEnding), errors.Is(err, errPanicked):
		return frame.Ending
	case errors.Is(err, errStale):
		return frame.Stale
	case errors.Is(err, errCanceled):
		return frame.Canceled
	}
	return frame.NotUnderstood
}
