package groupcache_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
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

// explosive is a picker whose parts may panic, and the peer that it knows.
type explosive struct{ where string }

func (x explosive) blow(where string) {
	if x.where == where {
		panic("oops")
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
// group's asked it, such as for a Remove; in a Get it was reported as a Getter's panic.
func TestAForeignPickerThatPanicsIsAPeerThatCannotBeAsked(t *testing.T) {
	for _, c := range []struct{ where, get, set, remove string }{
		{"nowhere", "theirs", "", ""},
		{"PickPeer", "mine", "PickPeer", "PickPeer"},
		{"GetAll", "theirs", "GetAll", "GetAll"},
		{"GetURL", "theirs", "", ""},
		{"Get", "mine", "", ""},
		{"Set", "theirs", "a peer's Set", ""},
		{"Remove", "theirs", "", "a peer's Remove"},
	} {
		t.Run(c.where, func(t *testing.T) {
			i, err := groupcache.New(groupcache.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = i.Close() }()
			load := groupcache.GetterFunc(func(_ context.Context, _ string, dest groupcache.Sink) error {
				return dest.SetString("mine", time.Time{})
			})
			g, err := i.NewGroup("g", 1<<20, load, groupcache.WithPeerPicker(explosive{c.where}))
			if err != nil {
				t.Fatal(err)
			}
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
				case !errors.Is(call.err, groupcache.ErrPeerUnavailable) || !strings.Contains(call.err.Error(), call.want+" panicked: oops"):
					t.Errorf("%s = %v, want ErrPeerUnavailable: %s panicked", name, call.err, call.want)
				}
			}
		})
	}
}
