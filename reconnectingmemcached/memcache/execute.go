package memcache

import (
	"context"
	"errors"

	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/faults"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/phases"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/protocol"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache/internal/server"
)

// read runs Get and GetAndTouch.
func (c *Client) read(ctx context.Context, r *protocol.Request) (*Item, error) {
	core, s, err := c.route(ctx, r.Key)
	if err != nil {
		return nil, err
	}
	it, err := c.readAt(ctx, core, s, r)
	if err == ErrCacheMiss && core.lists != nil { //nolint:errorlint // the very value of an answer.
		if it := core.lists.Inherit(ctx, s, r); it != nil {
			return it, nil
		}
		return nil, missUnlessEnded(ctx)
	}
	return it, err
}

func (c *Client) readAt(ctx context.Context, core *core, s *server.Server, r *protocol.Request) (*Item, error) {
	if !s.Window.Shut() {
		return c.readAround(ctx, core, s, r)
	}
	out := s.Exchange(ctx, r)
	r.Began = out.Began
	if out.Err == nil || out.Replied {
		return out.Item, out.Err
	}
	return c.readFailed(ctx, core, s, r, out)
}

// write runs the operations on one key that change something.
func (c *Client) write(ctx context.Context, r *protocol.Request) (uint64, error) {
	core, s, err := c.route(ctx, r.Key)
	if err != nil {
		return 0, err
	}
	var number uint64
	if l := core.lists; l != nil {
		number, err = l.Write(ctx, r, func(ctx context.Context, s *server.Server, r *protocol.Request) (uint64, error) {
			return c.writeAt(ctx, core, s, r)
		})
	} else {
		number, err = c.writeAt(ctx, core, s, r)
	}
	if !c.loads && r.Op.LeavesOldValue() {
		core.loads.Forget(r.Key)
	}
	return number, err
}

func (c *Client) writeAt(ctx context.Context, core *core, s *server.Server, r *protocol.Request) (uint64, error) {
	if !s.Window.Shut() {
		return c.writeAround(ctx, core, s, r)
	}
	out := s.Exchange(ctx, r)
	if out.Err == nil || out.Replied {
		return out.Number, out.Err
	}
	return 0, c.writeFailed(ctx, core, s, r, out)
}

func (c *Client) store(ctx context.Context, o protocol.Op, item *Item) error {
	if item == nil {
		return errNilItem
	}
	_, err := c.write(ctx, &protocol.Request{Op: o, Key: item.Key, Item: item})
	return err
}

// unanswered words the error of a call that its server did not answer.
func (c *Client) unanswered(ctx context.Context, s *server.Server, o protocol.Op, out server.Outcome) error {
	if ended := ctx.Err(); ended != nil && out.Err == ended { //nolint:errorlint // a dial's own time-out wraps the same error.
		return ended
	}
	if o.Reads() && !c.reporting && !s.NeverWorked(out.Err) {
		return ErrCacheMiss
	}
	return downError(s, o, out)
}

// everywhere runs Ping and FlushAll.
func (c *Client) everywhere(ctx context.Context, o protocol.Op) error {
	core, err := c.listed(ctx)
	if err != nil {
		return err
	}
	servers, err := core.picker.Each()
	if err != nil {
		return err
	}
	if o == protocol.OpFlush {
		core.lists.FlushLeft(ctx)
	}
	parts := make([]server.Part, len(servers))
	for i, s := range servers {
		parts[i].Server, parts[i].Request.Op = s, o
	}
	server.Launch(ctx, parts)
	if o == protocol.OpFlush {
		core.loads.ForgetAll()
	}
	var failed []error
	for i := range parts {
		p := &parts[i]
		err := p.Outcome.Err
		if err != nil && !p.Outcome.Replied {
			err = c.unanswered(ctx, p.Server, o, p.Outcome)
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

// GetMulti returns the items of the keys that are found, by key; each server is asked once, all at
// the same time. While a server is down its keys are missing from the map, and the error is nil
// unless the client is [Client.Reporting]. Those of a server that is up and did not answer in time
// are missing, too, and the error wraps [ErrTimeout]; so are those whose connection ended under
// them, and once more when they were asked for again: the error is a [*ServerDownError] with the
// cause.
func (c *Client) GetMulti(keys []string) (map[string]*Item, error) {
	return c.GetMultiContext(context.Background(), keys)
}

// GetMultiContext is [Client.GetMulti] that ends with ctx at the latest, with the items that have
// arrived.
func (c *Client) GetMultiContext(ctx context.Context, keys []string) (map[string]*Item, error) {
	core, err := c.listed(ctx)
	if err != nil {
		return nil, err
	}
	var began int64
	if core.gutter != nil || core.lists != nil {
		began = core.Now()
	}
	parts, doubted, err := split(core, keys)
	if err != nil {
		return nil, err
	}
	server.Launch(ctx, parts)
	items := make(map[string]*Item, len(keys))
	for i := range parts {
		for _, it := range parts[i].Outcome.Items {
			items[it.Key] = it
		}
	}
	if core.gutter != nil {
		core.gutter.Fill(ctx, items, core.gutter.Missing(items, parts, doubted), began)
	}
	core.lists.InheritAll(ctx, items, keys, began)
	var failed []error
	for i := range parts {
		if err := c.partError(ctx, &parts[i]); err != nil && !parts[i].FoundIn(items) {
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
func (c *Client) partError(ctx context.Context, p *server.Part) error {
	if p.Outcome.Err == nil || p.Outcome.Replied {
		return p.Outcome.Err
	}
	err := c.unanswered(ctx, p.Server, protocol.OpGetMulti, p.Outcome)
	switch {
	case err != ErrCacheMiss: //nolint:errorlint // the very value that unanswered gives for "down".
		return err
	case (errors.Is(p.Outcome.Err, faults.ErrTimeout) || isCut(p.Outcome.Err)) && !p.Server.IsDown():
		return downError(p.Server, protocol.OpGetMulti, p.Outcome)
	}
	return nil
}

// isCut recognises the end of a connection under a call, but not by Close.
func isCut(err error) bool {
	var lost *faults.Fault
	return errors.As(err, &lost) && !lost.Dialling && !errors.Is(err, faults.ErrClosed)
}

// split groups keys by server, in their order. Doubted keys are those that may have copies to be
// looked at if the server does not have them, or is not to be asked.
func split(core *core, keys []string) (parts []server.Part, doubted []string, err error) {
	parts = make([]server.Part, 0, min(len(keys), len(core.All())+len(keys)/server.MaxMultiKeys+1))
	for _, key := range keys {
		if !protocol.LegalKey(key) {
			return nil, nil, ErrMalformedKey
		}
		s, err := core.picker.Pick(key)
		if err != nil {
			return nil, nil, err
		}
		at := phases.Up
		if !s.Window.Shut() {
			at = s.Phase()
		}
		if at == phases.WithCopies || at == phases.Linger {
			doubted = append(doubted, key)
		}
		if at == phases.Linger || s.Missed.Holds(key) && !s.IsDown() {
			s.Metrics.Count(protocol.OpGetMulti, server.ResultMiss) // the server's value may be old
			continue
		}
		parts = server.AddKey(parts, s, key, len(keys))
	}
	return parts, doubted, nil
}
