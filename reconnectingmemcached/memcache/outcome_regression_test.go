package memcache_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/breaker"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/reconnectingmemcached/memcache"
)

// TestUnknownOutcome tells of the write that timed out at a server that stayed up: nothing
// re-admitted it, so nothing removed the old value. It is not served from the moment the write has
// failed, and deleted as soon as the server lets us.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{}, func(t *testing.T, l *lab) {
		l.fake.SetFault(testutil.OnVerbs(testutil.AcceptSilent(), "set", "delete"))
		err := l.Set(&memcache.Item{Key: "k", Value: []byte("new")})
		var down *memcache.ServerDownError
		if !errors.As(err, &down) || !down.Sent || !errors.Is(err, memcache.ErrTimeout) {
			t.Fatalf("Set that timed out: %v, want a *ServerDownError that was sent and wraps ErrTimeout", err)
		}
		if !l.up() {
			t.Error("one time-out opened the breaker")
		}
		for range 3 {
			if it, err := l.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
				t.Errorf("Get after a Set of unknown outcome = %v, %v, want a miss", it, err)
			}
			if items, err := l.GetMulti([]string{"k"}); err != nil || len(items) > 0 {
				t.Errorf("GetMulti after a Set of unknown outcome = %v, %v, want nothing", items, err)
			}
		}
		l.fake.SetFault(nil)
		time.Sleep(3 * time.Second) // a deletion that hangs, and the pause before the next
		if st := l.stats(); st.Replayed == 0 || st.MissedInvalidations > 0 {
			t.Errorf("%+v, want the key deleted", st)
		}
		if it, err := l.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) {
			t.Errorf("Get after the deletion = %v, %v, want a miss", it, err)
		}
	})
}

// TestZombieWrite tells of the write that was given up and arrived after all: a server that had
// been stopped worked off its sockets after the missed keys had been deleted, and the value came
// back.
func TestZombieWrite(t *testing.T) {
	t.Parallel()
	inLab(t, memcache.Options{ConsecutiveFailures: 1}, func(t *testing.T, l *lab) {
		other, err := memcache.NewWithOptions(nil, memcache.Options{Servers: []string{l.fake.Addr()}, DialContext: l.fake.Dial})
		check(t, err)
		defer func() { _ = other.Close() }()
		var sets, deletions atomic.Int64
		l.fake.SetFault(func(cmd testutil.Command) testutil.Fault {
			switch {
			case cmd.Verb == "set" && sets.Add(1) == 1:
				return testutil.AcceptSilent()
			case cmd.Verb == "delete" && deletions.Add(1) == 2: // it arrives between the two
				if err := other.Set(&memcache.Item{Key: "k", Value: []byte("zombie")}); err != nil {
					t.Error(err)
				}
			}
			return testutil.Fault{}
		})
		if err := l.Set(&memcache.Item{Key: "k", Value: []byte("zombie")}); err == nil {
			t.Fatal("Set = nil, want a time-out")
		}
		time.Sleep(3 * time.Second)
		if it, err := l.Get("k"); !errors.Is(err, memcache.ErrCacheMiss) || deletions.Load() != 2 {
			t.Errorf("Get after re-admission = %v, %v, with %d deletions; want a miss, and 2", it, err, deletions.Load())
		}
	})
}

// TestWritesAreNotRepeated tells of the increment that counted twice: the server had carried it out
// and the connection was lost before the reply. Reads are tried once more; what changes something
// is not.
func TestWritesAreNotRepeated(t *testing.T) {
	fake := testutil.StartFake(t)
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}})
	if err := c.Set(&memcache.Item{Key: "n", Value: []byte("1")}); err != nil {
		t.Fatal(err)
	}
	fake.SetFault(testutil.Times(1, testutil.OnVerbs(testutil.CloseMidReply(0), "incr")))
	_, err := c.Increment("n", 1)
	var down *memcache.ServerDownError
	if !errors.As(err, &down) || !down.Sent {
		t.Errorf("Increment whose reply was lost = %v, want a *ServerDownError that was sent", err)
	}
	if it, err := c.Get("n"); err != nil || string(it.Value) != "2" {
		t.Errorf("number after one Increment of 1: %v, %v, want 2", it, err)
	}
	fake.SetFault(testutil.Times(1, testutil.OnVerbs(testutil.CloseMidReply(5), "gets")))
	if it, err := c.Get("n"); err != nil || string(it.Value) != "2" {
		t.Errorf("Get whose connection was lost in mid-reply = %v, %v, want the value by a second try", it, err)
	}
	fake.SetFault(testutil.Times(1, testutil.OnVerbs(testutil.CloseMidReply(0), "touch")))
	if err := c.Touch("n", 100); err != nil {
		t.Errorf("Touch whose connection was lost = %v, want success by a second try", err)
	}
	if st := c.Stats()[fake.Addr()]; st.Refused > 0 || st.State != breaker.Closed {
		t.Errorf("lost connections opened the breaker: %+v", st)
	}
}

// TestConnectionLimit: a server at its limit turns connections away with an error line. One of
// these is not an outage.
func TestConnectionLimit(t *testing.T) {
	fake := testutil.StartFake(t)
	fake.SetFault(testutil.Times(2, testutil.OnVerbs(testutil.TooManyConns(), testutil.VerbConnect)))
	c := newClient(t, memcache.Options{Servers: []string{fake.Addr()}})
	for range 2 {
		_, _ = c.Get("k")
	}
	if got := c.State(fake.Addr()); got != breaker.Closed {
		t.Errorf("breaker is %v after a connection or two were turned away, want closed", got)
	}
	if err := c.Set(&memcache.Item{Key: "k", Value: []byte("v")}); err != nil {
		t.Errorf("Set once the server has room = %v", err)
	}
}

// TestWrongKey tells of the Get that returned another key's value: order alone said whose it was.
func TestWrongKey(t *testing.T) {
	c := memcache.New("scripted:1")
	c.Timeout = time.Second
	c.DialContext = func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go converse(server, []byte("VALUE other 0 5\r\nwrong\r\nEND\r\n"))
		return client, nil
	}
	defer func() { _ = c.Close() }()
	if it, err := c.Get("k"); err == nil {
		t.Errorf("Get(%q) answered with the value of another key = %+v, want a miss", "k", it)
	}
	if items, err := c.GetMulti([]string{"k", "l"}); err != nil || len(items) > 0 {
		t.Errorf("GetMulti answered with the value of another key = %v, %v, want nothing", items, err)
	}
}
