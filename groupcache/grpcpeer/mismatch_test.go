package grpcpeer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
)

// roughListener's connections hand over their bytes in pieces of any length, and are reset in the
// middle of anything.
type roughListener struct{ net.Listener }

// Accept implements net.Listener.
func (l roughListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &roughConn{conn}, nil
}

type roughConn struct{ net.Conn }

func (c *roughConn) Read(p []byte) (int, error) {
	return c.Conn.Read(p[:min(len(p), 1+rand.IntN(600))])
}

func (c *roughConn) Write(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if rand.IntN(5000) == 0 {
			if tcp, ok := c.Conn.(*net.TCPConn); ok {
				_ = tcp.SetLinger(0)
			}
			_ = c.Close()
			return n, net.ErrClosed
		}
		var m int
		m, err = c.Conn.Write(p[n:min(len(p), n+1+rand.IntN(900))])
		n += m
	}
	return n, err
}

// mismatchTime is how long callers try to get each other's answers: two seconds, or ten minutes
// with HOLDFAST_SOAK=1.
func mismatchTime() time.Duration {
	if os.Getenv("HOLDFAST_SOAK") == "1" {
		return 10 * time.Minute
	}
	return 2 * time.Second
}

// Whatever is cancelled, late, cut or reset: a key's answer is its own, be it a value, an error or
// that there is none.
func TestMismatchOfAnswers(t *testing.T) {
	const nodes = 3
	for what, start := range map[string]func(t *testing.T, n int) (groupcache.Options, func(*groupcache.Instance)){
		"HTTP": roughHTTP, "gRPC": roughGRPC,
	} {
		t.Run(what, func(t *testing.T) {
			var groups []*groupcache.Group
			var instances []*groupcache.Instance
			var addrs []string
			for n := range nodes {
				o, serve := start(t, n)
				o.Silence, o.PeerTimeout = 2*time.Second, 2*time.Second // a busy machine is no dead peer
				i, err := groupcache.New(o)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = i.Close() })
				serve(i)
				g, err := i.NewGroup("g", 1<<20, groupcache.GetterFunc(answerWithItsKey))
				if err != nil {
					t.Fatal(err)
				}
				groups, instances, addrs = append(groups, g), append(instances, i), append(addrs, o.Self)
			}
			for _, i := range instances {
				if err := i.SetPeers(addrs...); err != nil {
					t.Fatal(err)
				}
			}
			callForOthers(t, groups)
		})
	}
}

// onlyOK is a middleware's writer that loses the status.
type onlyOK struct{ http.ResponseWriter }

func (onlyOK) WriteHeader(int) {}

// roughHTTP lets the n-th of several instances be asked over HTTP. The first of them is behind a
// middleware.
func roughHTTP(t *testing.T, n int) (groupcache.Options, func(*groupcache.Instance)) {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	return groupcache.Options{Self: "http://" + l.Addr().String()}, func(i *groupcache.Instance) {
		h := i.Handler()
		if n == 0 {
			h = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { i.Handler().ServeHTTP(onlyOK{w}, r) })
		}
		server := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(roughListener{l}) })
		t.Cleanup(func() {
			_ = server.Close()
			serving.Wait()
		})
	}
}

func roughGRPC(t *testing.T, _ int) (groupcache.Options, func(*groupcache.Instance)) {
	l := listen(t, "127.0.0.1:0")
	n, err := grpcpeer.New(grpcpeer.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return groupcache.Options{Self: l.Addr().String(), Network: n}, func(*groupcache.Instance) { start(t, n, roughListener{l}) }
}

// answerWithItsKey is a Getter whose values, errors and absences name the key.
func answerWithItsKey(_ context.Context, key string, dest groupcache.Sink) error {
	time.Sleep(time.Duration(rand.IntN(1500)) * time.Microsecond)
	switch rand.IntN(10) {
	case 0:
		return &groupcache.ErrNotFound{Msg: asMessage("absent: " + key + ".")}
	case 1:
		return errors.New(asMessage("failed: " + key + "."))
	}
	return dest.SetString(valueOf(key), time.Now().Add(time.Duration(rand.IntN(20))*time.Millisecond))
}

// asMessage makes a text that is also a message of protocol buffers: an unknown field of bytes.
func asMessage(text string) string { return "2" + string(rune(len(text))) + text }

func valueOf(key string) string { return key + "." + strings.Repeat(key, rand.IntN(200)) }

// What must have been answered for a test that says anything.
const (
	enoughAnswers = 200
	enoughByPeers = 20
)

// callForOthers lets 64 callers do everything at once, and leave at any moment.
func callForOthers(t *testing.T, groups []*groupcache.Group) {
	t.Helper()
	var answered, mismatches atomic.Int64
	byPeers := func() (n int64) {
		for _, g := range groups {
			n += g.Stats.PeerLoads.Get()
		}
		return n
	}
	end, patience := time.Now().Add(mismatchTime()), time.Now().Add(mismatchTime()+30*time.Second)
	goOn := func() bool {
		now := time.Now()
		few := answered.Load() < enoughAnswers || byPeers() < enoughByPeers // on a busy machine
		return mismatches.Load() < 10 && (now.Before(end) || few && now.Before(patience))
	}
	check := func(key, value string, err error) {
		switch {
		case err == nil && value != key+"."+strings.Repeat(key, max(0, len(value)-len(key)-1)/len(key)):
			mismatches.Add(1)
			t.Errorf("the value of %q is %.60q", key, value)
		case err == nil:
			answered.Add(1)
		case strings.Contains(err.Error(), "absent: "), strings.Contains(err.Error(), "failed: "):
			answered.Add(1)
			if !strings.Contains(err.Error(), ": "+key+".") {
				mismatches.Add(1)
				t.Errorf("the error of %q is %.200q", key, err)
			}
		}
	}
	var callers sync.WaitGroup
	for i := range 64 {
		callers.Go(func() {
			for goOn() {
				g := groups[rand.IntN(len(groups))]
				key := fmt.Sprintf("%d-key", rand.IntN(200))
				ctx, cancel := impatient(t.Context())
				switch i % 16 {
				case 0, 1, 2:
					keys := []string{key, fmt.Sprintf("%d-key", rand.IntN(200)), fmt.Sprintf("%d-key", rand.IntN(200))}
					got, _ := g.GetMulti(ctx, keys)
					for key, v := range got {
						check(key, v.String(), nil)
					}
				case 3:
					time.Sleep(20 * time.Millisecond) // a write that a peer misses closes it for a while
					_ = g.Set(ctx, key, []byte(valueOf(key)), time.Now().Add(20*time.Millisecond), rand.IntN(2) == 0)
				case 4:
					time.Sleep(20 * time.Millisecond)
					_ = g.Remove(ctx, key)
				default:
					v, err := g.View(ctx, key)
					check(key, v.String(), err)
				}
				cancel()
			}
		})
	}
	callers.Wait()
	if answered.Load() < enoughAnswers || byPeers() < enoughByPeers {
		t.Errorf("only %d answers, %d by peers", answered.Load(), byPeers())
	}
	t.Logf("%d answers, %d fetches from peers, %d mismatches", answered.Load(), byPeers(), mismatches.Load())
}

// impatient makes the context of a caller who mostly leaves within two milliseconds.
func impatient(ctx context.Context) (context.Context, context.CancelFunc) {
	patience := time.Duration(rand.IntN(2000)) * time.Microsecond
	if rand.IntN(2) == 0 {
		patience = time.Duration(rand.IntN(200)) * time.Millisecond
	}
	if rand.IntN(3) > 0 {
		return context.WithTimeout(ctx, patience)
	}
	ctx, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(patience, cancel)
	return ctx, func() {
		timer.Stop()
		cancel()
	}
}
