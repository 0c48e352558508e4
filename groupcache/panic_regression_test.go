package groupcache_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
)

// A Transport that panics ended the process: greetings, and the connections for frames, are made by
// goroutines of the Instance. It is a peer that cannot be asked.
func TestATransportThatPanicsIsAPeerThatCannotBeAsked(t *testing.T) {
	i, err := groupcache.New(groupcache.Options{
		Transport: func(context.Context) http.RoundTripper { panic("oops") },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	s := newSource()
	g, err := i.NewGroup("g", 1<<20, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.SetPeers("http://127.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if v, err := get(t.Context(), g, "k"); err != nil || s.loads.Load() != 1 {
		t.Errorf("Get = %q, %v after %d loads here, want it loaded here", v, err, s.loads.Load())
	}
	if err := g.Remove(t.Context(), "k"); !errors.Is(err, groupcache.ErrPeerUnavailable) || !strings.Contains(err.Error(), "oops") {
		t.Errorf("Remove = %v, want ErrPeerUnavailable with the panic", err)
	}
}

// A Transport that ended its goroutine, as FailNow of a test does, ended one of the Instance's with
// it: no connection was made for frames ever after, those that greet peers grew fewer, a Get said
// that the Getter had panicked, and a removal that was not delivered was said to be.
func TestAPeerIsBackAfterATransportThatEndedItsGoroutine(t *testing.T) {
	for what, end := range map[string]func(){"Goexit": runtime.Goexit, "panic": func() { panic("oops") }} {
		t.Run(what, func(t *testing.T) {
			var ends atomic.Bool
			ends.Store(true)
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			s := newSource()
			owner := startNode(t, s, nil)
			asker := startNode(t, s, func(o *groupcache.Options) {
				o.Transport = func(context.Context) http.RoundTripper {
					return tripper(func(r *http.Request) (*http.Response, error) {
						if ends.Load() {
							end()
						}
						return transport.RoundTrip(r)
					})
				}
			})
			if err := asker.instance.SetPeers(owner.url); err != nil {
				t.Fatal(err)
			}
			for _, ctx := range []context.Context{t.Context(), context.Background()} {
				if v, err := get(ctx, asker.group, "k"); err != nil || v != "value of k" {
					t.Errorf("Get = %q, %v, want it loaded here", v, err)
				}
				if err := asker.group.Remove(ctx, "k"); !errors.Is(err, groupcache.ErrPeerUnavailable) {
					t.Errorf("Remove = %v, want ErrPeerUnavailable", err)
				}
			}
			ends.Store(false)
			eventually(t, "the peer is back", func() bool { return asker.instance.PeersUp() == 1 })
			framed(t, asker)
			if err := asker.group.Remove(t.Context(), "k"); err != nil {
				t.Errorf("Remove afterwards: %v", err)
			}
		})
	}
}

// tripper is a RoundTripper.
type tripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A key whose Getter had ended its goroutine was said not to be there, if the caller of GetMulti
// could not leave.
func TestGetMultiNamesTheKeyWhoseGetterHasEndedItsGoroutine(t *testing.T) {
	g := alone(t, func(_ context.Context, key string, dest groupcache.Sink) error {
		if key == "bad" {
			runtime.Goexit()
		}
		return dest.SetString("v", time.Time{})
	})
	for _, ctx := range []context.Context{t.Context(), context.Background()} {
		found, err := g.GetMulti(ctx, []string{"bad", "good"})
		if len(found) != 1 || !errors.Is(err, groupcache.ErrGetterPanicked) || !strings.Contains(err.Error(), "bad") {
			t.Errorf("%d values, %v, want one, and ErrGetterPanicked for the other", len(found), err)
		}
	}
}

// explosive is a picker whose parts may blow up, and the peer that it knows.
type explosive struct {
	where string
	how   func()
}

func (x explosive) blow(where string) {
	if x.where == where {
		x.how()
	}
}

func (x explosive) PickPeer(string) (groupcache.ProtoGetter, bool) {
	x.blow("PickPeer")
	return x, true
}

func (x explosive) GetAll() []groupcache.ProtoGetter {
	x.blow("GetAll")
	return []groupcache.ProtoGetter{x}
}

func (x explosive) GetURL() string {
	x.blow("GetURL")
	return "http://peer"
}

func (x explosive) Get(_ context.Context, _ *pb.GetRequest, out *pb.GetResponse) error {
	x.blow("Get")
	out.Value = []byte("theirs")
	return nil
}

func (x explosive) Set(context.Context, *pb.SetRequest) error {
	x.blow("Set")
	return nil
}

func (x explosive) Remove(context.Context, *pb.GetRequest) error {
	x.blow("Remove")
	return nil
}

// A PeerPicker that panics, or a peer of its making, ended the process where a goroutine of the
// group's asked it, such as for a Remove; in a Get it was reported as a Getter's panic. One that
// ends its goroutine ended that of the group, and a Remove that was not delivered was said to be.
func TestAForeignPickerThatBlowsUpIsAPeerThatCannotBeAsked(t *testing.T) {
	for said, how := range map[string]func(){"panicked: oops": func() { panic("oops") }, "ended its goroutine": runtime.Goexit} {
		for _, c := range []struct{ where, get, set, remove string }{
			{"nowhere", "theirs", "", ""},
			{"PickPeer", "mine", "PickPeer", "PickPeer"},
			{"GetAll", "theirs", "GetAll", "GetAll"},
			{"GetURL", "theirs", "", ""},
			{"Get", "mine", "", ""},
			{"Set", "theirs", "a peer's Set", ""},
			{"Remove", "theirs", "", "a peer's Remove"},
		} {
			t.Run(c.where+" "+said, func(t *testing.T) {
				g := alone(t, func(_ context.Context, _ string, dest groupcache.Sink) error {
					return dest.SetString("mine", time.Time{})
				}, groupcache.WithPeerPicker(explosive{c.where, how}))
				if v, err := get(t.Context(), g, "k"); v != c.get || err != nil {
					t.Errorf("Get = %q, %v, want %q", v, err, c.get)
				}
				for name, call := range map[string]struct {
					err  error
					want string
				}{
					"Set":    {g.Set(t.Context(), "k", []byte("v"), time.Time{}, false), c.set},
					"Remove": {g.Remove(t.Context(), "k"), c.remove},
				} {
					switch {
					case call.want == "" && call.err != nil:
						t.Errorf("%s: %v", name, call.err)
					case call.want == "":
					case !errors.Is(call.err, groupcache.ErrPeerUnavailable) || !strings.Contains(call.err.Error(), call.want+" "+said):
						t.Errorf("%s = %v, want ErrPeerUnavailable: %s %s", name, call.err, call.want, said)
					}
				}
			})
		}
	}
}
