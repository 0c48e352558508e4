package line_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/line"
	"github.com/holdfast-go/holdfast/groupcache/internal/wire"
	"github.com/holdfast-go/holdfast/groupcache/internal/writes"
	"github.com/holdfast-go/holdfast/internal/tracing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	maxValue = 4 << 20
	longest  = 30 * time.Second
)

// local is a process that answers. Its methods that are nil answer that nothing is there.
type local struct {
	find func(key string) (string, bool)
	get  func(ctx context.Context, key string, loading func()) (wire.Answer, error)
	// multi answers several keys.
	multi func(keys []string) []wire.Answer
	// traced runs before what has a trace is carried out.
	traced func()

	mu   sync.Mutex
	told []string // guarded by mu
}

var _ wire.Local = (*local)(nil)

func (l *local) note(parts ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.told = append(l.told, strings.Join(parts, " "))
	return nil
}

func (l *local) heard() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.told...)
}

func (l *local) Find(_, key string) (wire.Answer, bool) {
	if l.find == nil {
		return wire.Answer{}, false
	}
	v, ok := l.find(key)
	return wire.Answer{Value: v}, ok
}

func (l *local) Get(ctx context.Context, group, key string, loading func()) (wire.Answer, error) {
	switch {
	case group == "none":
		return wire.Answer{}, wire.ErrNoGroup
	case l.get != nil:
		return l.get(ctx, key, loading)
	}
	return wire.Answer{Outcome: wire.NotFound, Message: "there is no " + key}, nil
}

func (l *local) GetMulti(_ context.Context, _ string, keys []string) ([]wire.Answer, error) {
	if l.multi != nil {
		return l.multi(keys), nil
	}
	answers := make([]wire.Answer, len(keys))
	for i, key := range keys {
		answers[i].Value = key
	}
	return answers, nil
}

func (l *local) GetCached(ctx context.Context, group string, keys []string) ([]wire.Answer, error) {
	return l.GetMulti(ctx, group, keys)
}

func (l *local) Set(_ context.Context, group, key, value string, _ int64) error {
	if len(value) > 100 {
		value = value[:3]
	}
	return l.note("set", group, key, value)
}

func (l *local) Remove(_ context.Context, group string, keys ...string) error {
	return l.note(append([]string{"remove", group}, keys...)...)
}

func (l *local) Sweep(_ context.Context, group string, s writes.Sweep) error {
	return l.note("sweep", group, string(s.Phase), s.ID, s.Prefix)
}

func (l *local) Written(_ context.Context, _ string, _ time.Duration, keys []string) ([]wire.Answer, error) {
	return make([]wire.Answer, len(keys)), nil
}

func (l *local) Offer(_ context.Context, group, from string, keys []string) error {
	return l.note(append([]string{"offer", group, from}, keys...)...)
}
func (l *local) Forget()                 { _ = l.note("forget") }
func (l *local) Greeting() wire.Greeting { return wire.Greeting{Ring: "even", RingInUse: true} }
func (l *local) MaxValueSize() int64     { return maxValue }
func (l *local) Tracer() *tracing.Tracer {
	if l.traced != nil {
		l.traced()
	}
	return nil
}

// connected are the two ends of a TCP connection.
func connected(t *testing.T) (client, server net.Conn) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	if client, err = (&net.Dialer{}).DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

// newLine makes the line of a connection.
func newLine(t *testing.T, conn net.Conn) *line.Line {
	t.Helper()
	l := line.New(conn, line.Options{
		MaxValueSize: maxValue,
		MaxAnswers:   func(keys int) int64 { return maxValue + int64(keys)*64 },
		Stamp:        func() (frame.Stamp, func()) { return frame.Stamp{Time: time.Now()}, func() {} },
	})
	t.Cleanup(l.Close)
	return l
}

// start makes a line and the session that answers it.
func start(t *testing.T, answers *local) (*line.Line, *line.Session) {
	t.Helper()
	client, server := connected(t)
	return newLine(t, client), answer(t, server, answers)
}

// answer answers on a connection.
func answer(t *testing.T, conn net.Conn, answers *local) *line.Session {
	t.Helper()
	s := line.NewSession(t.Context(), conn, line.Server{
		Local:    answers,
		Explain:  func(_ context.Context, _, _ string, a wire.Answer) (int, string) { return 404, a.Message },
		Panicked: func(v any) { _ = answers.note(fmt.Sprint("panic: ", v)) },
	})
	var work sync.WaitGroup
	work.Go(func() { _ = s.Serve(bufio.NewReaderSize(conn, 64<<10)) })
	t.Cleanup(func() {
		s.Close()
		work.Wait()
	})
	return s
}

// ask asks for a key.
func ask(ctx context.Context, l *line.Line, key string) (string, error) {
	a, _, err := l.Get(ctx, wire.Question{Group: "g", Key: key}, nil, nil)
	return a.Value, err
}

// soak reports whether long tests are wanted.
func soak() bool { return os.Getenv("HOLDFAST_SOAK") == "1" }

// within waits for a condition that must come true.
func within(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(longest); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}
