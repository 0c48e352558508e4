package observe_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"pgregory.net/rapid"

	"github.com/holdfast-go/holdfast/internal/observe"
)

// A value is in the first bucket that is not below it, whichever goroutine observes it.
func TestHistogramCountsLikeASlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bounds := rapid.SliceOfNDistinct(rapid.Int64Range(0, 1000), 0, 20, rapid.ID).Draw(t, "bounds")
		slices.Sort(bounds)
		values := rapid.SliceOfN(rapid.Int64Range(0, 1100), 0, 100).Draw(t, "values")
		h := observe.NewHistogram(bounds, observe.NewStripes())
		var all sync.WaitGroup
		for _, part := range slices.Collect(slices.Chunk(values, 10)) {
			all.Go(func() {
				for _, v := range part {
					h.Observe(v)
				}
			})
		}
		all.Wait()
		want := observe.Counts{Buckets: make([]uint64, len(bounds)+1)}
		for _, v := range values {
			i, _ := slices.BinarySearch(bounds, v)
			want.Buckets[i]++
			want.N++
			want.Sum += v
		}
		if got := h.Read(); got.N != want.N || got.Sum != want.Sum || !slices.Equal(got.Buckets, want.Buckets) {
			t.Fatalf("counts %+v, want %+v", got, want)
		}
	})
}

func TestStripesAreWithinBounds(t *testing.T) {
	for _, s := range []observe.Stripes{{}, observe.NewStripes()} {
		seen := make(chan int, 100)
		for range cap(seen) {
			go func() { seen <- s.Here() }()
		}
		for range cap(seen) {
			if at := <-seen; at < 0 || at >= s.Len() {
				t.Fatalf("stripe %d of %d", at, s.Len())
			}
		}
	}
}

func TestLabelsDiffer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels, seen := observe.NewLabels(0), make(map[string]string)
		for _, name := range rapid.SliceOfNDistinct(rapid.OneOf(
			rapid.StringN(0, 3, -1),
			rapid.SampledFrom([]string{"\xff", "\xfe", "\uFFFD", "\uFFFD~2", observe.Other, strings.Repeat("é", 90), strings.Repeat("é", 90) + "x"}),
		), 0, 12, rapid.ID).Draw(t, "names") {
			label := labels.Take(name)
			if twin, taken := seen[label]; taken || !utf8.ValidString(label) || len(label) > observe.MaxLabel || label == observe.Other {
				t.Fatalf("%q has the label %q, which %q has too, or is bad", name, label, twin)
			}
			seen[label] = name
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
			"a", "\xff", "\xfe", "\uFFFD", strings.Repeat("é", 90), strings.Repeat("é", 90) + "x", strings.Repeat("a", 128), strings.Repeat("a", 129),
		}), 2, 2, rapid.ID).Draw(t, "names")
		a, b := observe.Distinct(names[0]), observe.Distinct(names[1])
		if a == b || a != observe.Distinct(names[0]) || !utf8.ValidString(a) || len(a) > observe.MaxLabel {
			t.Fatalf("%q has the label %q, %q has %q", names[0], a, names[1], b)
		}
	})
	bounded := observe.NewLabels(2)
	if a, b, c := bounded.Take("a"), bounded.Take("b"), bounded.Take("c"); a != "a" || b != "b" || c != observe.Other {
		t.Errorf("labels %q, %q, %q", a, b, c)
	}
	bounded.Drop("a")
	if got := bounded.Take("d"); got != "d" {
		t.Errorf("a label given back is not used: %q", got)
	}
}

func TestNamesAreUnique(t *testing.T) {
	kind := fmt.Sprint("tests", time.Now().UnixNano())
	if a, b, c := observe.Name("", kind), observe.Name("", kind), observe.Name("x\xff", kind); a != kind || b != kind+"-2" || c != "x\uFFFD" {
		t.Errorf("names %q, %q, %q", a, b, c)
	}
}

type instance struct{ name string }

func (i instance) Name() string { return i.name }

func TestNameOfWhatServesAnInstance(t *testing.T) {
	for want, got := range map[string]string{
		"given": observe.NameOf(instance{"users"}, "given", "dns"), "users": observe.NameOf(instance{"users"}, "", "dns"),
		"dns\uFFFD": observe.NameOf(struct{}{}, "", "dns\xff"),
	} {
		if got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}

// A callback is told all in order, one at a time, whatever it does; it costs no goroutine while
// there is nothing to tell.
func TestEventsInOrder(t *testing.T) {
	var told, panics []string
	done := make(chan struct{})
	var events *observe.Events[int]
	events = observe.NewEvents(func(n int) {
		told = append(told, fmt.Sprint(n))
		switch {
		case n == 3:
			panic("three")
		case n == 5:
			runtime.Goexit()
		case n < 10:
			return
		case n == 10:
			events.Post(11) // from within
			return
		}
		close(done)
	}, func(v any) { panics = append(panics, fmt.Sprint(v)) })
	for n := range 11 {
		events.Post(n)
	}
	<-done
	events.Wait(nil)
	if got := strings.Join(told, " "); got != "0 1 2 3 4 5 6 7 8 9 10 11" || len(panics) != 1 {
		t.Errorf("told %s, panics %v", got, panics)
	}
	events.Close()
	events.Post(12)
	events.Wait(nil)
	if len(told) != 12 {
		t.Errorf("told %v after Close", told)
	}
}

func TestEventsAreBounded(t *testing.T) {
	hold, begun := make(chan struct{}), make(chan struct{}, 1)
	count := 0
	events := observe.NewEvents(func(int) {
		count++
		begun <- struct{}{}
		<-hold
	}, nil)
	events.Post(0)
	<-begun
	for range observe.MaxEvents + 7 {
		events.Post(1)
	}
	if lost := events.Lost(); lost != 7 {
		t.Errorf("%d lost, want 7", lost)
	}
	enough := make(chan struct{})
	close(enough)
	events.Wait(enough) // returns although the callback hangs
	events.Discard()
	close(hold)
	events.Wait(nil)
	if count != 1 {
		t.Errorf("told %d, want the one that was under way", count)
	}
	var none *observe.Events[int]
	none.Post(1)
	none.Close()
	none.Discard()
	none.Wait(nil)
	if none.Lost() != 0 || observe.NewEvents[int](nil, nil) != nil {
		t.Error("without a callback there is something to tell")
	}
}

func TestTableAndSender(t *testing.T) {
	table := observe.NewTable("test", "client", "c")
	counter := table.Counter("calls_total", "Calls.", "endpoint", "result").Shown("Calls")
	gauge := table.Gauge("up", "Up.", "endpoint")
	since := table.Gauge("since_seconds", "Since.", "endpoint")
	spent := table.Counter("spent_seconds_total", "Spent.", "endpoint").Hide("a test")
	times := table.Seconds("time_seconds", "Time.", "endpoint").Shown("Time")
	sizes := table.Bytes("size_bytes", "Size.", "endpoint")
	durations := observe.NewHistogram([]int64{50e3, 1e9}, observe.Stripes{})
	lengths := observe.NewHistogram([]int64{64}, observe.Stripes{})
	for _, v := range []int64{50e3, 50e3 + 1, 3e9} {
		durations.Observe(v)
		lengths.Observe(v)
	}
	c := collector{table, func(ch chan<- prometheus.Metric) {
		out := observe.To(ch, "a:1")
		out.Count(counter, 3, "ok")
		out.Flag(gauge, true)
		out.Time(since, time.Time{})
		out.Elapsed(spent, 1500*time.Millisecond)
		out.Histogram(times, durations)
		out.Histogram(sizes, lengths)
	}}
	const want = `
# HELP holdfast_test_calls_total Calls.
# TYPE holdfast_test_calls_total counter
holdfast_test_calls_total{client="c",endpoint="a:1",result="ok"} 3
# HELP holdfast_test_since_seconds Since.
# TYPE holdfast_test_since_seconds gauge
holdfast_test_since_seconds{client="c",endpoint="a:1"} 0
# HELP holdfast_test_size_bytes Size.
# TYPE holdfast_test_size_bytes histogram
holdfast_test_size_bytes_bucket{client="c",endpoint="a:1",le="64"} 0
holdfast_test_size_bytes_bucket{client="c",endpoint="a:1",le="+Inf"} 3
holdfast_test_size_bytes_sum{client="c",endpoint="a:1"} 3.000100001e+09
holdfast_test_size_bytes_count{client="c",endpoint="a:1"} 3
# HELP holdfast_test_spent_seconds_total Spent.
# TYPE holdfast_test_spent_seconds_total counter
holdfast_test_spent_seconds_total{client="c",endpoint="a:1"} 1.5
# HELP holdfast_test_time_seconds Time.
# TYPE holdfast_test_time_seconds histogram
holdfast_test_time_seconds_bucket{client="c",endpoint="a:1",le="5e-05"} 1
holdfast_test_time_seconds_bucket{client="c",endpoint="a:1",le="1"} 2
holdfast_test_time_seconds_bucket{client="c",endpoint="a:1",le="+Inf"} 3
holdfast_test_time_seconds_sum{client="c",endpoint="a:1"} 3.000100001
holdfast_test_time_seconds_count{client="c",endpoint="a:1"} 3
# HELP holdfast_test_up Up.
# TYPE holdfast_test_up gauge
holdfast_test_up{client="c",endpoint="a:1"} 1
`
	if err := testutil.CollectAndCompare(c, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
	// What does not fit its row is told, and does not crash the scrape of a process.
	bad := collector{table, func(ch chan<- prometheus.Metric) { observe.To(ch).Count(counter, 1, "ok") }}
	registry := prometheus.NewRegistry()
	registry.MustRegister(bad)
	if _, err := registry.Gather(); err == nil || !strings.Contains(err.Error(), "label") {
		t.Errorf("Gather of a metric with too few labels: %v", err)
	}
}

type collector struct {
	*observe.Table

	collect func(chan<- prometheus.Metric)
}

func (c collector) Collect(ch chan<- prometheus.Metric) { c.collect(ch) }

type timeoutError struct{ error }

func (timeoutError) Timeout() bool { return true }

// Causes are labels: their number is bounded, whatever ports and names an error's text has.
func TestCauseLabels(t *testing.T) {
	at := func(err error) error {
		return fmt.Errorf("outer: %w", &net.OpError{Op: "read", Addr: &net.TCPAddr{Port: 43210}, Err: os.NewSyscallError("read", err)})
	}
	for want, err := range map[string]error{
		"": nil, "connection refused": at(syscall.ECONNREFUSED), "connection reset": at(syscall.ECONNRESET), "unreachable": at(syscall.EHOSTUNREACH),
		"no more connections": at(syscall.EMFILE), "connection closed": fmt.Errorf("read: %w", io.EOF), "timeout": at(os.ErrDeadlineExceeded),
		"no such file": at(syscall.ENOENT), "permission denied": at(syscall.EACCES),
		"tls": at(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "name not resolved": &net.DNSError{Name: "cache", IsTimeout: true}, "canceled": context.Canceled,
		"error": errors.New("WRONGPASS 10.0.0.1:43210"),
	} {
		if got := observe.CauseLabel(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
	for code, want := range map[syscall.Errno]string{
		10024: "no more connections", 10049: "no more connections", 10055: "no more connections", 10051: "unreachable", 10065: "unreachable",
		10053: "connection reset", 10054: "connection reset", 10061: "connection refused",
	} {
		if got := observe.CauseLabel(at(code)); got != want || observe.IsReset(at(code)) != (want == "connection reset") {
			t.Errorf("on Windows, %d is %q, want %q", code, got, want)
		}
	}
	hung := observe.NewCause("timeout", "it hangs")
	if got := observe.CauseLabel(fmt.Errorf("10.0.0.1: %w", hung)); got != "timeout" || hung.Error() != "it hangs" {
		t.Errorf("%v is %q", hung, got)
	}
	if got := observe.CauseLabel(timeoutError{errors.New("no answer")}); got != "timeout" {
		t.Errorf("an error with Timeout is %q", got)
	}
}

// Durations are text: a JSON handler writes nanoseconds, which nobody reads at night.
func TestDurationsAreText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		171556371: "171.6ms", 1234567891: "1.23s", 754 * time.Second: "12m34s", 83 * time.Microsecond: "83µs",
	} {
		if got := observe.Duration(observe.KeyAfter, d).String(); got != "after="+want {
			t.Errorf("%v is %s", int64(d), got)
		}
	}
	var text strings.Builder
	observe.Logger(slog.New(slog.NewJSONHandler(&text, nil)), "users").Info("up", observe.Endpoint("a:1"), observe.Cause(io.EOF))
	if !strings.Contains(text.String(), `"client":"users","endpoint":"a:1","cause":"EOF"`) {
		t.Errorf("line %s", text.String())
	}
	observe.Logger(nil, "users").Error("nobody hears this")
}

func BenchmarkHistogram(b *testing.B) {
	h := observe.NewHistogram(observe.Latencies(), observe.NewStripes())
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			h.Observe(130e3)
		}
	})
}
