package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sirupsen/logrus"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/consistenthash"
	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// The faces of both originals, as code written for them uses them.
var (
	_ func(string, int64, groupcache.Getter, ...groupcache.GroupOption) *groupcache.Group = groupcache.NewGroup
	_ func(string) *groupcache.Group                                                      = groupcache.GetGroup
	_ func() []*groupcache.Group                                                          = groupcache.GetGroups
	_ func(string)                                                                        = groupcache.DeregisterGroup
	_ func(func(*groupcache.Group))                                                       = groupcache.RegisterNewGroupHook
	_ func(func())                                                                        = groupcache.RegisterServerStart
	_ func(func() groupcache.PeerPicker)                                                  = groupcache.RegisterPeerPicker
	_ func(func(string) groupcache.PeerPicker)                                            = groupcache.RegisterPerGroupPeerPicker
	_ func(string) *groupcache.HTTPPool                                                   = groupcache.NewHTTPPool
	_ func(string, *groupcache.HTTPPoolOptions) *groupcache.HTTPPool                      = groupcache.NewHTTPPoolOpts
	_ func(*logrus.Entry)                                                                 = groupcache.SetLogger
	_ func(groupcache.Logger)                                                             = groupcache.SetLoggerFromLogger
	_ groupcache.PeerErrorHandler                                                         = groupcache.DefaultPeerErrorHandler
	_ func(context.Context, http.ResponseWriter, *http.Request, error)                    = groupcache.DefaultServerErrorHandler
	_ groupcache.PeerPicker                                                               = (*groupcache.HTTPPool)(nil)
	_ groupcache.PeerPicker                                                               = groupcache.NoPeers{}
	_ http.Handler                                                                        = (*groupcache.HTTPPool)(nil)
	_ error                                                                               = groupcache.BadGroupcacheRequestError{}
	_ error                                                                               = groupcache.GroupNotFoundError{}
	_ error                                                                               = groupcache.RemoteLoadError{Group: "", Key: "", StatusCode: 0, Status: "", Body: nil, Err: nil}
	_ error                                                                               = &groupcache.ErrNotFound{Msg: ""}
	_ error                                                                               = &groupcache.ErrRemoteCall{Msg: ""}
	_ interface {
		Get(context.Context, string, groupcache.Sink) error
		Set(context.Context, string, []byte, time.Time, bool) error
		Remove(context.Context, string) error
		Name() string
		CacheStats(groupcache.CacheType) groupcache.CacheStats
	} = (*groupcache.Group)(nil)
	_ interface {
		Set(...string)
		GetAll() []groupcache.ProtoGetter
	} = (*groupcache.HTTPPool)(nil)
	_ = groupcache.HTTPPoolOptions{BasePath: "", Replicas: 0, HashFn: consistenthash.Hash(nil), Transport: nil, Context: nil, ServerErrorHandler: nil}
	_ = [...]groupcache.CacheType{1: groupcache.MainCache, 2: groupcache.HotCache}
)

// panics is what fn panics with.
func panics(fn func()) (cause any) {
	defer func() { cause = recover() }()
	fn()
	return nil
}

// sharedText is a log that may be read while others still write to it: peers are greeted in the
// background.
type sharedText struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (s *sharedText) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *sharedText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// One test, because there is one default instance.
func TestTheDefaultInstance(t *testing.T) {
	groupcache.ResetDefault()
	http.DefaultServeMux = http.NewServeMux()
	var log sharedText
	logger := logrus.New()
	logger.SetOutput(&log)
	groupcache.SetLogger(logrus.NewEntry(logger).WithField("app", "test"))
	defer groupcache.SetLogger(nil)

	var hooked []string
	started := 0
	groupcache.RegisterNewGroupHook(func(g *groupcache.Group) { hooked = append(hooked, g.Name()) })
	groupcache.RegisterServerStart(func() { started++ })

	pool := groupcache.NewHTTPPool("http://self")
	for what, fn := range map[string]func(){
		"NewHTTPPool twice":           func() { groupcache.NewHTTPPoolOpts("http://self", nil) },
		"RegisterPeerPicker after it": func() { groupcache.RegisterPeerPicker(func() groupcache.PeerPicker { return pool }) },
		"RegisterPerGroupPeerPicker":  func() { groupcache.RegisterPerGroupPeerPicker(nil) },
		"RegisterNewGroupHook twice":  func() { groupcache.RegisterNewGroupHook(nil) },
		"RegisterServerStart twice":   func() { groupcache.RegisterServerStart(nil) },
		"NewGroup without a getter":   func() { groupcache.NewGroup("no getter", 1, nil) },
		"ByteViewSink of nothing":     func() { groupcache.ByteViewSink(nil) },
	} {
		if panics(fn) == nil {
			t.Errorf("%s does not panic", what)
		}
	}

	s := newSource()
	g := groupcache.NewGroup("default", 1<<20, s)
	if cause := panics(func() { groupcache.NewGroup("default", 1, s) }); cause == nil || !strings.Contains(fmt.Sprint(cause), "already") {
		t.Errorf("a second group of one name: %v", cause)
	}
	if groupcache.GetGroup("default") != g || groupcache.GetGroup("other") != nil || len(groupcache.GetGroups()) != 1 {
		t.Error("the group is not found")
	}
	if v, err := get(t.Context(), g, "a"); v != "value of a" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	response := httptest.NewRecorder()
	http.DefaultServeMux.ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/_groupcache/default/a", nil))
	if response.Code != http.StatusOK || !strings.Contains(response.Body.String(), "value of a") {
		t.Errorf("the default mux answers %d %q", response.Code, response.Body)
	}

	server := startNode(t, s, nil)
	if _, err := server.instance.NewGroup("default", 1<<20, s); err != nil {
		t.Fatal(err)
	}
	pool.Set(server.url, "no url")
	defer pool.Set()
	if all := pool.GetAll(); len(all) != 1 || all[0].GetURL() != server.url {
		t.Errorf("peers: %v", all)
	}
	owner, ok := pool.PickPeer("a")
	if !ok {
		t.Fatal("no owner")
	}
	var out pb.GetResponse
	if err := owner.Get(t.Context(), &pb.GetRequest{Group: proto.String("default"), Key: proto.String("b")}, &out); err != nil || string(out.GetValue()) != "value of b" {
		t.Errorf("%q, %v", out.GetValue(), err)
	}
	if v, err := get(t.Context(), g, "c"); v != "value of c" || err != nil {
		t.Errorf("%q, %v", v, err)
	}
	if got := g.Stats.PeerLoads.String(); got != "1" {
		t.Errorf("%s values from the peer", got)
	}
	groupcache.NowFunc = func() time.Time { return time.Now().Add(time.Hour) }
	defer func() { groupcache.NowFunc = time.Now }()
	if err := g.Set(t.Context(), "soon", []byte("v"), time.Now().Add(time.Minute), true); err != nil {
		t.Error(err)
	}
	if got := g.CacheStats(groupcache.HotCache).Items; got != 1 {
		t.Errorf("%d values in the hot cache: the clock of the default instance is not NowFunc", got)
	}
	groupcache.DeregisterGroup("default")
	if groupcache.GetGroup("default") != nil {
		t.Error("still registered")
	}
	if len(hooked) != 1 || hooked[0] != "default" || started != 1 {
		t.Errorf("hooks: %q, %d", hooked, started)
	}
	if !strings.Contains(log.String(), "no url") || !strings.Contains(log.String(), "app=test") || !strings.Contains(log.String(), "level=error") {
		t.Errorf("logged %q", log.String())
	}
}

func TestSinks(t *testing.T) {
	g := alone(t, func(_ context.Context, key string, dest groupcache.Sink) error {
		switch key {
		case "bytes":
			b := []byte("bytes")
			err := dest.SetBytes(b, time.Time{})
			copy(b, "spoil")
			return err
		case "proto":
			return dest.SetProto(&pb.GetRequest{Group: proto.String("g"), Key: proto.String("k")}, time.Time{})
		}
		return dest.SetString("string", time.Time{})
	})
	for range 2 { // from the getter and from the cache
		for key, want := range map[string]string{"string": "string", "bytes": "bytes"} {
			var s string
			var b, short []byte
			var v groupcache.ByteView
			short = make([]byte, 3)
			for _, dest := range []groupcache.Sink{
				groupcache.StringSink(&s), groupcache.AllocatingByteSliceSink(&b), groupcache.TruncatingByteSliceSink(&short), groupcache.ByteViewSink(&v),
			} {
				if err := g.Get(t.Context(), key, dest); err != nil {
					t.Fatal(err)
				}
			}
			if s != want || string(b) != want || string(short) != want[:3] || v.String() != want {
				t.Errorf("%q %q %q %q, want %q", s, b, short, v, want)
			}
			clear(b)
			if v.String() != want {
				t.Error("a slice shares the value's memory")
			}
		}
		var m pb.GetRequest
		if err := g.Get(t.Context(), "proto", groupcache.ProtoSink(&m)); err != nil || m.GetGroup() != "g" || m.GetKey() != "k" {
			t.Errorf("%v, %v", &m, err)
		}
	}
	for what, dest := range map[string]groupcache.Sink{
		"string": groupcache.StringSink(nil), "bytes": groupcache.AllocatingByteSliceSink(nil), "truncated": groupcache.TruncatingByteSliceSink(nil),
		"proto": groupcache.ProtoSink(nil), "none": nil,
	} {
		if err := g.Get(t.Context(), "string", dest); err == nil || !strings.Contains(err.Error(), "pass") {
			t.Errorf("%s into nothing: %v", what, err)
		}
	}
}

func TestByteView(t *testing.T) {
	g := alone(t, func(_ context.Context, key string, dest groupcache.Sink) error {
		return dest.SetString(key, time.Time{})
	})
	v, err := g.View(t.Context(), "0123456789")
	if err != nil {
		t.Fatal(err)
	}
	read, err := io.ReadAll(v.Slice(2, 5).Reader())
	var w strings.Builder
	n, errWrite := v.SliceFrom(7).WriteTo(&w)
	part := make([]byte, 4)
	at, errAt := v.ReadAt(part, 8)
	_, errBefore := v.ReadAt(part, -1)
	_, errBehind := v.ReadAt(part, 10)
	switch {
	case v.Len() != 10, v.At(3) != '3', !v.Expire().IsZero(), string(v.ByteSlice()) != v.String(), v.Copy(part[:0]) != 0:
		t.Error("basics")
	case !v.EqualString("0123456789"), !v.EqualBytes([]byte("0123456789")), !v.Equal(v.Slice(0, 10)), v.Equal(groupcache.ByteView{}), v.EqualString("x"):
		t.Error("equality")
	case string(read) != "234", err != nil, w.String() != "789", n != 3, errWrite != nil:
		t.Errorf("readers: %q, %v, %q, %d, %v", read, err, w.String(), n, errWrite)
	case at != 2, !errors.Is(errAt, io.EOF), string(part[:2]) != "89", errBefore == nil, !errors.Is(errBehind, io.EOF):
		t.Errorf("ReadAt: %d, %v, %v, %v", at, errAt, errBefore, errBehind)
	}
}

func TestTyped(t *testing.T) {
	type user struct{ Name string }
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	g, err := i.NewGroup("users", 1<<20, groupcache.TypedGetter(nil, func(_ context.Context, key string) (user, time.Time, error) {
		return user{"user " + key}, time.Time{}, nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	users := groupcache.NewTyped[user](g, nil)
	if u, err := users.Get(t.Context(), "1"); u.Name != "user 1" || err != nil {
		t.Errorf("%v, %v", u, err)
	}
	if err := users.Set(t.Context(), "1", user{"renamed"}, time.Time{}); err != nil {
		t.Error(err)
	}
	if u, err := users.Get(t.Context(), "1"); u.Name != "renamed" || err != nil {
		t.Errorf("%v, %v", u, err)
	}
	if err := g.Set(t.Context(), "1", []byte("{"), time.Time{}, false); err != nil {
		t.Error(err)
	}
	if _, err := users.Get(t.Context(), "1"); err == nil || !strings.Contains(err.Error(), `"1"`) {
		t.Errorf("what is no JSON: %v", err)
	}
	if err := users.Remove(t.Context(), "1"); err != nil {
		t.Error(err)
	}
	if u, err := users.Get(t.Context(), "1"); u.Name != "user 1" || err != nil {
		t.Errorf("%v, %v", u, err)
	}
}

// noNetwork is a Network that knows no addresses.
type noNetwork struct{ groupcache.Network }

func (noNetwork) CheckAddress(addr string) error { return fmt.Errorf("%q is no address here", addr) }

func (noNetwork) Attach(wire.Local) error { return errors.New("it is in use") }

func TestANetworkChecksAddresses(t *testing.T) {
	if _, err := groupcache.New(groupcache.Options{Self: "http://10.0.0.1", Network: noNetwork{}}); err == nil || !strings.Contains(err.Error(), "no address here") {
		t.Errorf("Self: %v", err)
	}
	if _, err := groupcache.New(groupcache.Options{Network: noNetwork{}}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a network in use: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	for want, o := range map[string]groupcache.Options{
		"BasePath":     {BasePath: "cache"},
		"Self":         {Self: "10.0.0.1:80"},
		"Replicas":     {Replicas: -1},
		"MaxValueSize": {MaxValueSize: -1},
		"PeerTimeout":  {PeerTimeout: -1},
		"Silence":      {Silence: -1},
		"MaxInFlight":  {MaxInFlight: -1},
		"Auth":         {Auth: 7, Secret: make([]byte, 16)},
		"Secret":       {Auth: groupcache.AuthRequire, Secret: []byte("short")},
		"Network":      {Network: noNetwork{}, RequireClientCert: true},
	} {
		if _, err := groupcache.New(o); err == nil || !strings.Contains(err.Error(), "Options."+want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	if _, err := i.NewGroup("g", -1, newSource()); err == nil || !strings.Contains(err.Error(), "-1") {
		t.Error(err)
	}
}

func TestGroupsAlone(t *testing.T) {
	synctest.Test(t, testGroupsAlone)
}

func testGroupsAlone(t *testing.T) {
	s := newSource()
	i, err := groupcache.New(groupcache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = i.Close() }()
	dedupe, err := i.NewGroup("nothing kept", 0, s)
	if err != nil {
		t.Fatal(err)
	}
	var callers sync.WaitGroup
	s.answer = func(context.Context, string) (string, error) {
		time.Sleep(50 * time.Millisecond)
		return "v", nil
	}
	for range 20 {
		callers.Go(func() { _, _ = get(t.Context(), dedupe, "a") })
	}
	callers.Wait()
	if first := s.loads.Load(); first != 1 {
		t.Errorf("%d loads of one key", first)
	}
	if _, err := get(t.Context(), dedupe, "a"); err != nil || s.loads.Load() < 2 {
		t.Errorf("%v: a group without a budget has kept a value", err)
	}
	if st := dedupe.CacheStats(groupcache.MainCache); st.Items != 0 || dedupe.CacheStats(0) != (groupcache.CacheStats{}) {
		t.Errorf("%+v", st)
	}
}

// Close once ended the loads of such a group by their context alone; now that a load has a context
// of its own it must be found.
func TestCloseEndsTheLoadsOfGroupsThatAreNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, err := groupcache.New(groupcache.Options{})
		if err != nil {
			t.Fatal(err)
		}
		g, err := i.NewGroup("g", 1<<20, groupcache.GetterFunc(func(ctx context.Context, _ string, _ groupcache.Sink) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan error, 1)
		go func() {
			_, err := g.View(t.Context(), "a")
			got <- err
		}()
		synctest.Wait()
		i.Deregister("g")
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(got) == 0 {
			t.Fatal("Close has left a load behind")
		}
		if _, err := g.View(t.Context(), "b"); !errors.Is(err, groupcache.ErrClosed) {
			t.Errorf("View = %v after Close, want ErrClosed", err)
		}
	})
}
