package memcache

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"

	"github.com/holdfast-go/holdfast/breaker"
)

// listed is the running core, once it knows its servers.
func (c *Client) listed(ctx context.Context) (*core, error) {
	core, err := c.start()
	if err == nil && core.lists != nil {
		err = core.lists.await(ctx)
	}
	return core, err
}

// route finds the server of a legal key.
func (c *Client) route(ctx context.Context, key string) (*server, error) {
	core, err := c.listed(ctx)
	if err != nil {
		return nil, err
	}
	if !protocol.LegalKey(key) {
		return nil, ErrMalformedKey
	}
	return core.picker.pick(key)
}

// read runs Get and GetAndTouch.
func (c *Client) read(ctx context.Context, r *protocol.Request) (*Item, error) {
	s, err := c.route(ctx, r.Key)
	if err != nil {
		return nil, err
	}
	it, err := c.readAt(ctx, s, r)
	if err == ErrCacheMiss && s.core.lists != nil { //nolint:errorlint // the very value of an answer.
		return s.core.lists.inherit(ctx, s, r)
	}
	return it, err
}

func (c *Client) readAt(ctx context.Context, s *server, r *protocol.Request) (*Item, error) {
	if !s.window.shut() {
		return c.readAround(ctx, s, r)
	}
	out := s.exchange(ctx, r)
	if out.err == nil || out.replied {
		return out.item, out.err
	}
	return c.readFailed(ctx, s, r, out)
}

// write runs the operations on one key that change something.
func (c *Client) write(ctx context.Context, r *protocol.Request) (uint64, error) {
	s, err := c.route(ctx, r.Key)
	if err != nil {
		return 0, err
	}
	var number uint64
	if l := s.core.lists; l != nil {
		number, err = c.writeListed(ctx, l, r)
	} else {
		number, err = c.writeAt(ctx, s, r)
	}
	if !c.loads && r.Op.LeavesOldValue() {
		s.core.loads.forget(r.Key)
	}
	return number, err
}

func (c *Client) writeAt(ctx context.Context, s *server, r *protocol.Request) (uint64, error) {
	if !s.window.shut() {
		return c.writeAround(ctx, s, r)
	}
	out := s.exchange(ctx, r)
	if out.err == nil || out.replied {
		return out.number, out.err
	}
	return 0, c.writeFailed(ctx, s, r, out)
}

func (c *Client) store(ctx context.Context, o protocol.Op, item *Item) error {
	if item == nil {
		return errNilItem
	}
	_, err := c.write(ctx, &protocol.Request{Op: o, Key: item.Key, Item: item})
	return err
}

// unanswered words the error of a call that its server did not answer.
func (c *Client) unanswered(ctx context.Context, s *server, o protocol.Op, out outcome) error {
	if ended := ctx.Err(); ended != nil && out.err == ended { //nolint:errorlint // a dial's own time-out wraps the same error.
		return ended
	}
	if o.Reads() && !c.reporting && !s.neverWorked(out.err) {
		return ErrCacheMiss
	}
	return s.downError(o, out)
}

// neverWorked tells a client whose options are wrong from one that meets with an outage: no server
// has answered it yet, and this one refuses its login or its certificate. Its reads say so, lest a
// wrong password look like a cold cache.
func (s *server) neverWorked(err error) bool {
	if s.core.unanswered.answered.Load() {
		return false
	}
	if err == errRefused { //nolint:errorlint // the very value that admit gives.
		if down := s.downNow(); down != nil {
			return down.misconfigured
		}
		err = s.downCause()
	}
	return err != breaker.ErrOpen && faults.IsMisconfigured(err) //nolint:errorlint // the very value; it must not cost an allocation.
}

func (s *server) downError(o protocol.Op, out outcome) *ServerDownError {
	e := &ServerDownError{Addr: s.address, Op: o.Verb(), Cause: plainCause(out.err), Sent: out.sent}
	down := s.downNow()
	if down != nil {
		e.Since = down.since
	} else if st := s.breaker.Stats(); isDown(st.State) {
		e.Since = st.Since // found down by this very call
	}
	if errors.Is(out.err, errRefused) {
		e.Cause = s.downCause()
	}
	return e
}

// downCause is why the server is down. The breaker knows it first.
func (s *server) downCause() error {
	if down := s.downNow(); down != nil {
		return plainCause(down.cause)
	}
	if st := s.breaker.Stats(); st.LastCause != nil && (st.State == breaker.Open || st.State == breaker.HalfOpen) {
		return plainCause(st.LastCause)
	}
	return breaker.ErrOpen
}

// plainCause takes off what only the breaker needs.
func plainCause(err error) error {
	var f *faults.Fault
	if errors.As(err, &f) {
		return f.Err
	}
	return err
}

// part is one request of an operation that goes to several servers.
type part struct {
	server  *server
	request protocol.Request
	flight  flight
	refused error
	outcome outcome
}

// launch sends all parts before it waits for the first.
func launch(ctx context.Context, parts []part) {
	spans := beginParts(ctx, parts)
	sendParts(ctx, parts)
	for i := range parts {
		p := &parts[i]
		p.await(ctx)
		if spans != nil && !p.request.Own {
			spans[i].End(p.server.ended(&p.request, &p.outcome))
		}
	}
}

// sendParts sends all parts; each must be awaited.
func sendParts(ctx context.Context, parts []part) {
	for i := range parts {
		p := &parts[i]
		permit, err := p.server.admit(&p.request)
		if p.refused = err; err == nil {
			p.flight = p.server.begin(ctx, permit, &p.request)
		}
	}
}

func (p *part) await(ctx context.Context) {
	if p.refused != nil {
		p.outcome = refusedOutcome(p.refused)
	} else {
		p.outcome = p.server.finish(ctx, &p.flight, &p.request)
	}
}

// everywhere runs Ping and FlushAll.
func (c *Client) everywhere(ctx context.Context, o protocol.Op) error {
	core, err := c.listed(ctx)
	if err != nil {
		return err
	}
	servers, err := core.picker.each()
	if err != nil {
		return err
	}
	if o == protocol.OpFlush {
		core.lists.flushLeft(ctx)
	}
	parts := make([]part, len(servers))
	for i, s := range servers {
		parts[i].server, parts[i].request.Op = s, o
	}
	launch(ctx, parts)
	if o == protocol.OpFlush {
		core.loads.forgetAll()
	}
	var failed []error
	for i := range parts {
		p := &parts[i]
		err := p.outcome.err
		if err != nil && !p.outcome.replied {
			err = c.unanswered(ctx, p.server, o, p.outcome)
		}
		if err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) == 1 {
		return failed[0]
	}
	return errors.Join(failed...)
}

// maxMultiKeys bounds the keys of one request of a GetMulti, so that a large one does not hold up
// everybody's replies.
const maxMultiKeys = 256

// GetMulti returns the items of the keys that are found, by key; each server is asked once, all at
// the same time. While a server is down its keys are missing from the map, and the error is nil
// unless the client is [Client.Reporting]. Those of a server that is up and did not answer in time
// are missing, too, and the error wraps [ErrTimeout]; so are those whose connection ended under
// them, and once more when they were asked for again: the error is a [*ServerDownError] with the
// cause.
func (c *Client) GetMulti(keys []string) (map[string]*Item, error) {
	return c.GetMultiContext(context.Background(), keys)
}

// GetMultiContext is [Client.GetMulti] that ends with ctx at the latest, with what has arrived.
func (c *Client) GetMultiContext(ctx context.Context, keys []string) (map[string]*Item, error) {
	core, err := c.listed(ctx)
	if err != nil {
		return nil, err
	}
	var began int64
	if core.gutter != nil {
		began = core.now()
	}
	parts, doubted, err := split(core, keys)
	if err != nil {
		return nil, err
	}
	launch(ctx, parts)
	items := make(map[string]*Item, len(keys))
	for i := range parts {
		for _, it := range parts[i].outcome.items {
			items[it.Key] = it
		}
	}
	if core.gutter != nil {
		core.gutter.fill(ctx, items, core.gutter.missing(items, parts, doubted), began)
	}
	core.lists.inheritAll(ctx, items, keys)
	var failed []error
	for i := range parts {
		if err := c.partError(ctx, &parts[i]); err != nil && !parts[i].foundIn(items) {
			failed = append(failed, err)
		}
	}
	if len(failed) == 1 {
		return items, failed[0]
	}
	return items, errors.Join(failed...)
}

// partError is nil for a part whose server is down, unless the client is to report that. One that a
// server which is up did not answer is no outage: its keys may well be there, and nothing else
// tells.
func (c *Client) partError(ctx context.Context, p *part) error {
	if p.outcome.err == nil || p.outcome.replied {
		return p.outcome.err
	}
	err := c.unanswered(ctx, p.server, protocol.OpGetMulti, p.outcome)
	switch {
	case err != ErrCacheMiss: //nolint:errorlint // the very value that unanswered gives for "down".
		return err
	case (errors.Is(p.outcome.err, faults.ErrTimeout) || isCut(p.outcome.err)) && !p.server.isDown():
		return p.server.downError(protocol.OpGetMulti, p.outcome)
	}
	return nil
}

// isCut recognises the end of a connection under a call, but not by Close.
func isCut(err error) bool {
	var lost *faults.Fault
	return errors.As(err, &lost) && !lost.Dial && !errors.Is(err, faults.ErrClosed)
}

// foundIn reports whether items has all keys of a part, which copies may have brought.
func (p *part) foundIn(items map[string]*Item) bool {
	for _, key := range p.request.Keys {
		if items[key] == nil {
			return false
		}
	}
	return true
}

// split groups keys by server, in their order. Doubted keys are those that may have copies to be
// looked at if the server does not have them, or is not to be asked.
func split(core *core, keys []string) (parts []part, doubted []string, err error) {
	parts = make([]part, 0, min(len(keys), len(core.all())+len(keys)/maxMultiKeys+1))
	for _, key := range keys {
		if !protocol.LegalKey(key) {
			return nil, nil, ErrMalformedKey
		}
		s, err := core.picker.pick(key)
		if err != nil {
			return nil, nil, err
		}
		at := phaseUp
		if !s.window.shut() {
			at = s.phase()
		}
		if at == phaseWindow || at == phaseLinger {
			doubted = append(doubted, key)
		}
		if at == phaseLinger || s.missed.holds(key) && !s.isDown() {
			s.metrics.count(protocol.OpGetMulti, resultMiss) // what the server has of it may be old
			continue
		}
		parts = addKey(parts, s, key, len(keys))
	}
	return parts, doubted, nil
}

// addKey asks s for one more key.
func addKey(parts []part, s *server, key string, most int) []part {
	i := openPart(parts, s)
	if i < 0 {
		i = len(parts)
		parts = append(parts, part{server: s, request: protocol.Request{Op: protocol.OpGetMulti, Keys: make([]string, 0, min(most, maxMultiKeys))}})
	}
	parts[i].request.Keys = append(parts[i].request.Keys, key)
	return parts
}

// openPart finds the part of s that still takes keys: the last of s, unless it is full. There are
// as many parts as servers, or a few more.
func openPart(parts []part, s *server) int {
	for i := len(parts) - 1; i >= 0; i-- {
		if parts[i].server == s {
			if len(parts[i].request.Keys) < maxMultiKeys {
				return i
			}
			break
		}
	}
	return -1
}
