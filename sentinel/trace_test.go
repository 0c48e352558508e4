package sentinel_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/mediocregopher/radix/v4"

	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/trace"
)

// do sends one command to the primary.
func do(ctx context.Context, c *sentinel.Client, args ...string) error {
	return c.Do(ctx, name, radix.Cmd(nil, args[0], args[1:]...))
}

// watchKey watches a key on a connection of its own.
func watchKey(ctx context.Context, c *sentinel.Client) error {
	return c.Exclusive(ctx, name, func(conn radix.Conn) error { return conn.Do(ctx, radix.Cmd(nil, "WATCH", "k")) })
}

// leased sends a command in the check-out style.
func leased(c *sentinel.Client) error {
	conn, err := c.GetMaster(name)
	if err != nil {
		return err
	}
	defer c.PutMaster(name, conn)
	return conn.Cmd("GET", "leased").Err
}

// Every request is told to the tracer by the name of its command, with what became of it.
func TestTraceTellsWhatBecameOfEachRequest(t *testing.T) {
	var seen testutil.Recorder
	act(t, sentinel.Options{Name: "orders", Trace: &seen}, func(s *stage) {
		ctx := s.Context()
		pipeline := func(commands ...string) error {
			p := radix.NewPipeline()
			for _, command := range commands {
				p.Append(radix.Cmd(nil, command, "k"))
			}
			return s.client.Do(ctx, name, p)
		}
		for _, step := range []struct {
			do           func() error
			name, result string
			code         string
			keys         int
		}{
			{func() error { return do(ctx, s.client, "SET", "k", "v") }, "SET", trace.OK, "", 1},
			{func() error { return do(ctx, s.client, "get", "k") }, "GET", trace.OK, "", 1},
			{func() error { return do(ctx, s.client, "NOSUCH", "k") }, "NOSUCH", trace.ServerError, "ERR", 1},
			{func() error { return pipeline("GET", "get") }, "PIPELINE GET", trace.OK, "", 2},
			{func() error { return pipeline("GET", "DEL") }, "PIPELINE", trace.OK, "", 2},
			{func() error { return watchKey(ctx, s.client) }, "WATCH", trace.OK, "", 1},
			{func() error { return s.client.DoReplica(ctx, name, radix.Cmd(nil, "EXISTS", "k")) }, "EXISTS", trace.OK, "", 1},
			{func() error { return leased(s.client) }, "GET", trace.OK, "", 1},
		} {
			before := len(seen.Spans())
			err := step.do()
			got := seen.Last(t, step.name)
			if n := len(seen.Spans()) - before; n != 1 {
				t.Errorf("%s: %d spans, want 1: %v", step.name, n, seen.Spans()[before:])
			}
			if got.Result != step.result || got.Code != step.code || got.Keys != step.keys || got.IsError() != (got.Err != nil) {
				t.Errorf("%s ended with %+v for %d (and %v), want %s %s", step.name, got.Outcome, got.Keys, err, step.result, step.code)
			}
			if got.System != trace.Redis || got.Client != "orders" || got.Primary != name || got.Namespace != "0" || got.Kind != trace.Client {
				t.Errorf("%s is an operation of %+v", step.name, got.Operation)
			}
			atPrimary, replica := got.Outcome.Endpoint == s.primary(), step.name == "EXISTS"
			if atPrimary == replica || got.Operation.Endpoint != got.Outcome.Endpoint {
				t.Errorf("%s went to %s, while %s is the primary", step.name, got.Outcome.Endpoint, s.primary())
			}
		}
	})
}

// What cannot be sent is told as well: it is what an outage looks like.
func TestTraceTellsOfRequestsThatAreRefused(t *testing.T) {
	var seen testutil.Recorder
	act(t, sentinel.Options{Trace: &seen}, func(s *stage) {
		ctx := s.Context()
		s.client.Breaker(name).ForceOpen()
		synctest.Wait()
		for _, refused := range []struct {
			name string
			do   func() error
		}{
			{"SET", func() error { return do(ctx, s.client, "SET", "k", "v") }},
			{"", func() error { return watchKey(ctx, s.client) }},
		} {
			if err := refused.do(); !errors.Is(err, sentinel.ErrNoPrimary) {
				t.Fatal(err)
			}
			if got := seen.Last(t, refused.name); got.Result != trace.Refused || !errors.Is(got.Err, sentinel.ErrNoPrimary) {
				t.Errorf("what was refused ended with %+v", got.Outcome)
			}
		}
	})
}
