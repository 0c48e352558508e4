package grpcpeer_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
)

// odd are strings that no encoding may change.
func odd() []string {
	return []string{"", " ", "a/b", "..", "\x00", "\xff\xfe", "ключ", strings.Repeat("\xc3\x28", 1000), "%2F"}
}

func TestAnyBytesRoundTrip(t *testing.T) {
	tr := pair(t, &standIn{
		get: func(_ context.Context, group, key string, _ func()) (wire.Answer, error) {
			return wire.Answer{Value: "value of " + key + " of " + group, Expire: 42}, nil
		},
		getMulti: func(_ context.Context, _ string, keys []string) (answers []wire.Answer, _ error) {
			for _, key := range keys {
				answers = append(answers, wire.Answer{Value: key, Expire: 7})
			}
			return answers, nil
		},
	})
	for _, s := range odd() {
		a, err := tr.Get(t.Context(), s, s, ignore)
		if want := "value of " + s + " of " + s; err != nil || a.Value != want || a.Expire != 42 || !a.Marked || a.Outcome != wire.Found {
			t.Errorf("Get(%.20q) = %+v, %v", s, a, err)
		}
	}
	answers, err := tr.GetMulti(t.Context(), "\xff", odd(), ignore)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if a.Value != odd()[i] || a.Expire != 7 || !a.Marked {
			t.Errorf("GetMulti: %.20q is answered by %+v", odd()[i], a)
		}
	}
}

func TestWritesArriveAsTheyAre(t *testing.T) {
	var got []string
	tr := pair(t, &standIn{
		set: func(group, key, value string, expire int64) error {
			got = append(got, fmt.Sprintf("set %q %q %q %d", group, key, value, expire))
			return nil
		},
		remove: func(group, key string) error {
			got = append(got, fmt.Sprintf("remove %q %q", group, key))
			return nil
		},
		offer: func(_ context.Context, group, from string, keys []string) error {
			got = append(got, fmt.Sprintf("offer %q %q %q", group, from, keys))
			return nil
		},
		forget: func() { got = append(got, "forget") },
	})
	err := errors.Join(
		tr.Set(t.Context(), "g\xff", "k\xff", "v\xff", -5, ignore),
		tr.Remove(t.Context(), "g\xff", "k\xff"),
		tr.Offer(t.Context(), "g\xff", "10.0.0.1:1", []string{"a\xff", "", "b"}),
		tr.Forget(t.Context()),
	)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`set "g\xff" "k\xff" "v\xff" -5`, `remove "g\xff" "k\xff"`, `offer "g\xff" "10.0.0.1:1" ["a\xff" "" "b"]`, "forget"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

// What a Getter says is an answer; all else is an error that says whether the peer is well.
func TestErrorsKeepTheirMeaning(t *testing.T) {
	long := strings.Repeat("é", 10_000)
	for _, c := range []struct {
		what   string
		answer wire.Answer
		err    error
		want   error
	}{
		{what: "not found", answer: wire.Answer{Outcome: wire.NotFound, Message: "no key \xff"}},
		{what: "load failed", answer: wire.Answer{Outcome: wire.LoadFailed, Message: long}},
		{what: "no message", answer: wire.Answer{Outcome: wire.LoadFailed}},
		{what: "no group", err: wire.ErrNoGroup, want: wire.ErrNoGroup},
		{what: "too large", err: wire.ErrTooLarge, want: wire.ErrTooLarge},
		{what: "refused", err: wire.ErrRefused, want: wire.ErrRefused},
		{what: "unforeseen", err: errors.New("what?"), want: wire.ErrForeign},
	} {
		t.Run(c.what, func(t *testing.T) {
			tr := pair(t, &standIn{
				get:      func(context.Context, string, string, func()) (wire.Answer, error) { return c.answer, c.err },
				getMulti: func(context.Context, string, []string) ([]wire.Answer, error) { return []wire.Answer{c.answer}, c.err },
				cached:   func(string, []string) ([]wire.Answer, error) { return []wire.Answer{c.answer}, c.err },
				set:      func(string, string, string, int64) error { return c.err },
			})
			want := c.answer
			want.Marked = c.want == nil
			one, err := tr.Get(t.Context(), "g", "k", ignore)
			if one != want || !errors.Is(err, c.want) {
				t.Errorf("Get: %.100v, %v", one, err)
			}
			multi, errMulti := tr.GetMulti(t.Context(), "g", []string{"k"}, ignore)
			cached, errCached := tr.GetCached(t.Context(), "g", []string{"k"})
			for _, got := range [][]wire.Answer{multi, cached} {
				if c.want == nil && (len(got) != 1 || got[0] != want) {
					t.Errorf("several: %.100v", got)
				}
			}
			errSet := tr.Set(t.Context(), "g", "k", "v", 0, ignore)
			for _, err := range []error{errMulti, errCached, errSet} {
				if !errors.Is(err, c.want) {
					t.Errorf("%v, want %v", err, c.want)
				}
			}
		})
	}
}

// A process that is ending has not answered: its peers ask elsewhere, and count that.
func TestAnEndingPeerHasNotAnswered(t *testing.T) {
	tr := pair(t, &standIn{get: func(context.Context, string, string, func()) (wire.Answer, error) {
		return wire.Answer{}, wire.ErrEnding
	}})
	_, err := tr.Get(t.Context(), "g", "k", ignore)
	if status.Code(err) != codes.Unavailable || errors.Is(err, wire.ErrForeign) || errors.Is(err, wire.ErrRefused) {
		t.Error(err)
	}
}

func TestLargeValuesComeInPieces(t *testing.T) {
	const limit, piece = 5 << 20, 31 << 10
	var sent atomic.Pointer[string]
	answer := func() wire.Answer { return wire.Answer{Value: *sent.Load()} }
	local := &standIn{
		size:   limit,
		get:    func(context.Context, string, string, func()) (wire.Answer, error) { return answer(), nil },
		cached: func(string, []string) ([]wire.Answer, error) { return []wire.Answer{answer()}, nil },
		getMulti: func(context.Context, string, []string) ([]wire.Answer, error) {
			return []wire.Answer{answer(), {Outcome: wire.NotFound}, answer()}, nil
		},
		set: func(_, _, value string, _ int64) error {
			if value != *sent.Load() {
				return wire.ErrRefused
			}
			return nil
		},
	}
	_, addr := serve(t, local, grpcpeer.Options{})
	tr := newNetwork(t, local, grpcpeer.Options{}).Dial(addr)
	defer tr.Close()
	for _, size := range []int{0, piece - 1, piece, piece + 1, 2 * piece, 2*piece + 1, limit} {
		v := strings.Repeat("x", size)
		sent.Store(&v)
		signs := 0
		a, err := tr.Get(t.Context(), "g", "k", func() { signs++ })
		if err != nil || a.Value != v {
			t.Errorf("%d bytes: %d, %v", size, len(a.Value), err)
		}
		want := 0
		if size > piece { // the size is announced, then all pieces but the last say that there are more
			want = (size + piece - 1) / piece
		}
		if signs != want {
			t.Errorf("%d bytes: %d signs of life, want %d", size, signs, want)
		}
		multi, err := tr.GetMulti(t.Context(), "g", []string{"a", "b", "c"}, ignore)
		if err != nil || multi[0].Value != v || multi[1].Outcome != wire.NotFound || multi[2].Value != v {
			t.Errorf("%d bytes: GetMulti: %v", size, err)
		}
		if cached, err := tr.GetCached(t.Context(), "g", []string{"a"}); err != nil || cached[0].Value != v {
			t.Errorf("%d bytes: GetCached: %v", size, err)
		}
		if err := tr.Set(t.Context(), "g", "k", v, 0, ignore); err != nil {
			t.Errorf("%d bytes: Set: %v", size, err)
		}
	}
	for _, size := range []int{limit + 1, limit + 4*piece, 3 * limit} {
		v := strings.Repeat("x", size)
		sent.Store(&v)
		if _, err := tr.Get(t.Context(), "g", "k", ignore); !errors.Is(err, wire.ErrTooLarge) {
			t.Errorf("Get of %d bytes: %v", size, err)
		}
	}
	if _, err := tr.GetMulti(t.Context(), "g", []string{"a", "b", "c"}, ignore); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("GetMulti of %d bytes of at most %d: %v", 6*limit, 3*limit, err)
	}
	if _, err := tr.GetCached(t.Context(), "g", []string{"a"}); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("GetCached of %d bytes: %v", 3*limit, err)
	}
	if err := tr.Set(t.Context(), "g", "k", *sent.Load(), 0, ignore); !errors.Is(err, wire.ErrTooLarge) {
		t.Errorf("Set of %d bytes: %v", 3*limit, err)
	}
}

// While a load is under way its peer is told again and again.
func TestALoadShowsSignsOfLife(t *testing.T) {
	const want = 3
	enough := make(chan struct{})
	wait := func(ctx context.Context) error {
		select {
		case <-enough:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	tr := pair(t, &standIn{
		get: func(ctx context.Context, _, _ string, loading func()) (wire.Answer, error) {
			loading()
			return wire.Answer{Value: "v"}, wait(ctx)
		},
		getMulti: func(ctx context.Context, _ string, _ []string) ([]wire.Answer, error) {
			return []wire.Answer{{Value: "v"}}, wait(ctx)
		},
	})
	count := func() func() {
		enough = make(chan struct{})
		signs := 0
		return func() {
			if signs++; signs == want {
				close(enough)
			}
		}
	}
	if a, err := tr.Get(t.Context(), "g", "k", count()); err != nil || a.Value != "v" {
		t.Errorf("Get: %+v, %v", a, err)
	}
	if a, err := tr.GetMulti(t.Context(), "g", []string{"k"}, count()); err != nil || a[0].Value != "v" {
		t.Errorf("GetMulti: %+v, %v", a, err)
	}
}

// The end of a caller's context is the end of the load at the peer, and its deadline goes there.
func TestContextsReachThePeer(t *testing.T) {
	ended := make(chan error, 1)
	asked := make(chan bool, 1)
	tr := pair(t, &standIn{get: func(ctx context.Context, _, _ string, loading func()) (wire.Answer, error) {
		loading()
		_, limited := ctx.Deadline()
		asked <- limited
		<-ctx.Done()
		ended <- ctx.Err()
		return wire.Answer{}, ctx.Err()
	}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		if <-asked {
			t.Error("there is a deadline")
		}
		cancel()
	}()
	if _, err := tr.Get(ctx, "g", "k", ignore); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the peer's context: %v", err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), time.Second) // in which the peer is reached
	defer cancel()
	if _, err := tr.Get(ctx, "g", "k", ignore); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("timed out: %v", err)
	}
	if !<-asked {
		t.Error("the deadline did not reach the peer")
	}
	if err := <-ended; err == nil {
		t.Error("the peer's context has not ended")
	}
}

func TestARefusedConnectionIsRecognised(t *testing.T) {
	l := listen(t, "127.0.0.1:0")
	addr := l.Addr().String()
	_ = l.Close()
	tr := dial(t, addr, grpcpeer.Options{})
	_, err := tr.Get(t.Context(), "g", "k", ignore)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Get: %v", err)
	}
	if err := tr.Set(t.Context(), "g", "k", "v", 0, ignore); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Set: %v", err)
	}
	if _, err := tr.Probe(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("Probe: %v", err)
	}
	n := newNetwork(t, &standIn{even: true}, grpcpeer.Options{})
	start(t, n, listen(t, addr))
	// grpc alone would wait for its back-off.
	if g, err := tr.Probe(t.Context()); err != nil || !g.Marked || g.Ring != "even" || !g.RingInUse {
		t.Errorf("Probe of a peer that has come: %+v, %v", g, err)
	}
}

func TestTheGreetingSaysTheRing(t *testing.T) {
	for _, even := range []bool{false, true} {
		tr := pair(t, &standIn{even: even})
		if g, err := tr.Probe(t.Context()); err != nil || g != (wire.Greeting{Marked: true, Ring: "even", RingInUse: even}) {
			t.Errorf("%+v, %v", g, err)
		}
	}
}

// Requests under way go on when a peer leaves the list; later ones fail.
func TestCloseWaitsForNobodyAndEndsNothing(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	_, addr := serve(t, &standIn{get: func(context.Context, string, string, func()) (wire.Answer, error) {
		close(begun)
		<-release
		return wire.Answer{Value: "v"}, nil
	}}, grpcpeer.Options{})
	tr := newNetwork(t, &standIn{}, grpcpeer.Options{}).Dial(addr)
	got := make(chan error, 1)
	go func() {
		a, err := tr.Get(t.Context(), "g", "k", ignore)
		if err == nil && a.Value != "v" {
			err = fmt.Errorf("got %q", a.Value)
		}
		got <- err
	}()
	<-begun
	tr.Close()
	tr.Close()
	if _, err := tr.Get(t.Context(), "g", "k", ignore); err == nil {
		t.Error("Get after Close")
	}
	if _, err := tr.Probe(t.Context()); err == nil {
		t.Error("Probe after Close")
	}
	close(release)
	if err := <-got; err != nil {
		t.Error(err)
	}
}

// stranger is a server of gRPC that answers Get as a test says.
func stranger(t *testing.T, get grpc.StreamHandler) string {
	t.Helper()
	s := grpc.NewServer(grpc.WaitForHandlers(true))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: grpcpb.ServiceName, HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Get", Handler: get, ServerStreams: true}},
	}, nil)
	l := listen(t, "127.0.0.1:0")
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestStrangersAreRecognised(t *testing.T) {
	value := &grpcpb.Value{Value: new(string)}
	outcome := uint32(9)
	for what, get := range map[string]grpc.StreamHandler{
		"no message":       func(any, grpc.ServerStream) error { return nil },
		"two messages":     func(_ any, s grpc.ServerStream) error { return errors.Join(s.SendMsg(value), s.SendMsg(value)) },
		"another outcome":  func(_ any, s grpc.ServerStream) error { return s.SendMsg(&grpcpb.Value{Outcome: &outcome}) },
		"an unknown code":  func(any, grpc.ServerStream) error { return status.Error(codes.DataLoss, "?") },
		"no such method":   func(any, grpc.ServerStream) error { return status.Error(codes.Unimplemented, "?") },
		"an internal code": func(any, grpc.ServerStream) error { return status.Error(codes.Internal, "?") },
	} {
		t.Run(what, func(t *testing.T) {
			tr := dial(t, stranger(t, get), grpcpeer.Options{})
			if _, err := tr.Get(t.Context(), "g", "k", ignore); !errors.Is(err, wire.ErrForeign) {
				t.Error(err)
			}
		})
	}
}

// What a proxy or another server answers in the place of a peer must not pass for a peer's answer,
// nor for a greeting.
func TestServersWithoutGRPCAreNoPeers(t *testing.T) {
	for _, code := range []int{http.StatusOK, http.StatusNotFound, http.StatusServiceUnavailable, http.StatusInternalServerError} {
		t.Run(http.StatusText(code), func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
			s.Config.Protocols = new(http.Protocols)
			s.Config.Protocols.SetUnencryptedHTTP2(true)
			s.Start()
			defer s.Close()
			tr := dial(t, s.Listener.Addr().String(), grpcpeer.Options{})
			if a, err := tr.Get(t.Context(), "g", "k", ignore); err == nil || errors.Is(err, wire.ErrRefused) || errors.Is(err, wire.ErrNoGroup) {
				t.Errorf("Get: %+v, %v", a, err)
			}
			if err := tr.Remove(t.Context(), "g", "k"); err == nil || errors.Is(err, wire.ErrRefused) || errors.Is(err, wire.ErrNoGroup) {
				t.Errorf("Remove: %v", err)
			}
			if g, err := tr.Probe(t.Context()); err == nil {
				t.Errorf("Probe: %+v", g)
			}
		})
	}
	s := httptest.NewServer(http.NotFoundHandler()) // of HTTP/1
	defer s.Close()
	tr := dial(t, s.Listener.Addr().String(), grpcpeer.Options{})
	if g, err := tr.Probe(t.Context()); err == nil {
		t.Errorf("Probe over HTTP/1: %+v", g)
	}
}
