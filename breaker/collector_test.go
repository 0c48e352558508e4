package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/holdfast-go/holdfast/breaker"
)

// gather returns all samples by name and labels; of a histogram its count.
func gather(t *testing.T, collectors ...prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			t.Fatalf("Register: %v", err)
		}
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatalf("Gather: %v", err)
	}
	samples := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			samples[family.GetName()+labelsOf(m)] = valueOf(m)
		}
	}
	return samples
}

func labelsOf(m *dto.Metric) string {
	var labels []string
	for _, l := range m.GetLabel() {
		labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	slices.Sort(labels)
	return "{" + strings.Join(labels, ",") + "}"
}

func valueOf(m *dto.Metric) float64 {
	switch {
	case m.GetCounter() != nil:
		return m.GetCounter().GetValue()
	case m.GetGauge() != nil:
		return m.GetGauge().GetValue()
	default:
		return float64(m.GetHistogram().GetSampleCount())
	}
}

func TestMetricsOfABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{
			SlowCallDuration: time.Second, SlowCallRatio: -1,
			Probe:   func(context.Context) error { return errDown },
			Backoff: func(error, int) time.Duration { return 2 * time.Second },
		})
		for range 3 {
			p, _ := b.Allow()
			time.Sleep(time.Second)
			p.Done(nil)
		}
		reportTimes(b, 1, context.Canceled)
		reportTimes(b, 5, errDown)
		reportTimes(b, 7, nil)
		opened := time.Now()
		time.Sleep(5 * time.Second)
		got := gather(t, b)
		for metric, want := range map[string]float64{
			`holdfast_breaker_state{client="test",endpoint="",kind="user"}`:                         2,
			`holdfast_breaker_calls_total{client="test",endpoint="",kind="user",result="ok"}`:       3,
			`holdfast_breaker_calls_total{client="test",endpoint="",kind="user",result="failed"}`:   5,
			`holdfast_breaker_calls_total{client="test",endpoint="",kind="user",result="ignored"}`:  1,
			`holdfast_breaker_calls_total{client="test",endpoint="",kind="user",result="refused"}`:  7,
			`holdfast_breaker_slow_calls_total{client="test",endpoint="",kind="user"}`:              3,
			`holdfast_breaker_openings_total{client="test",endpoint="",kind="user"}`:                1,
			`holdfast_breaker_open_seconds_total{client="test",endpoint="",kind="user"}`:            5,
			`holdfast_breaker_probes_total{client="test",endpoint="",kind="user",result="failed"}`:  2,
			`holdfast_breaker_probes_total{client="test",endpoint="",kind="user",result="ok"}`:      0,
			`holdfast_breaker_since_timestamp_seconds{client="test",endpoint="",kind="user"}`:       float64(opened.Unix()),
			`holdfast_breaker_last_cause_info{cause="error",client="test",endpoint="",kind="user"}`: 1,
			`holdfast_breaker_call_duration_seconds{client="test",endpoint="",kind="user"}`:         8,
		} {
			if v, ok := got[metric]; !ok || v != want {
				t.Errorf("%s = %v (%v), want %v", metric, v, ok, want)
			}
		}
		_ = b.Close()
	})
}

func TestHistogramBuckets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(t, breaker.Options{Durations: true})
		for _, d := range []time.Duration{0, 50 * time.Microsecond, 51 * time.Microsecond, 3 * time.Millisecond, 5 * time.Second, time.Minute} {
			p, _ := b.Allow()
			time.Sleep(d)
			p.Done(nil)
		}
		registry := prometheus.NewRegistry()
		registry.MustRegister(b)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(families, func(f *dto.MetricFamily) bool { return f.GetName() == "holdfast_breaker_call_duration_seconds" })
		h := families[i].GetMetric()[0].GetHistogram()
		got := map[float64]uint64{}
		for _, bucket := range h.GetBucket() {
			got[bucket.GetUpperBound()] = bucket.GetCumulativeCount()
		}
		want := map[float64]uint64{0.00005: 2, 0.0001: 3, 0.0025: 3, 0.005: 4, 2.5: 4, 5: 5}
		for bound, n := range want {
			if got[bound] != n {
				t.Errorf("bucket %v holds %d, want %d", bound, got[bound], n)
			}
		}
		if h.GetSampleCount() != 6 || h.GetSampleSum() < 65.003 || h.GetSampleSum() > 65.004 || len(got) != 17 {
			t.Errorf("histogram %v", h)
		}
	})
}

func TestNoHistogramUnlessAsked(t *testing.T) {
	b := newBreaker(t, breaker.Options{})
	_ = report(b, nil)
	for metric := range gather(t, b) {
		if strings.HasPrefix(metric, "holdfast_breaker_call_duration") {
			t.Errorf("%s is there", metric)
		}
	}
}

func TestMetricsOfASet(t *testing.T) {
	s := newSet(t, breaker.SetOptions{MaxEndpoints: 2})
	if got := gather(t, s); len(got) != 0 {
		t.Errorf("a set without endpoints has %v", got)
	}
	reportTimes(s.Get("a"), 2, nil)
	reportTimes(s.Get("b"), 3, nil)
	reportTimes(s.Get("c"), 4, nil)
	got := gather(t, s)
	for endpoint, want := range map[string]float64{"a": 2, "b": 3, "_other": 4} {
		if v := got[fmt.Sprintf(`holdfast_breaker_calls_total{client="test",endpoint=%q,kind="user",result="ok"}`, endpoint)]; v != want {
			t.Errorf("%s: %v successes, want %v", endpoint, v, want)
		}
	}
}

func TestSameNameTwiceFailsAtRegisterNotAtScrape(t *testing.T) {
	collectors := map[string]func() prometheus.Collector{
		"Breaker":       func() prometheus.Collector { return newBreaker(t, breaker.Options{}) },
		"timed Breaker": func() prometheus.Collector { return newBreaker(t, breaker.Options{Durations: true}) },
		"Set":           func() prometheus.Collector { return newSet(t, breaker.SetOptions{}) },
	}
	for first, one := range collectors {
		for second, two := range collectors {
			registry := prometheus.NewRegistry()
			if err := registry.Register(one()); err != nil {
				t.Fatal(err)
			}
			var already prometheus.AlreadyRegisteredError
			if err := registry.Register(two()); !errors.As(err, &already) {
				t.Errorf("%s after %s: Register = %v, want AlreadyRegisteredError", second, first, err)
			}
			if _, err := registry.Gather(); err != nil {
				t.Errorf("%s after %s: Gather = %v", second, first, err)
			}
		}
	}
	twin, err := breaker.New("twin", breaker.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = twin.Close() })
	gather(t, newBreaker(t, breaker.Options{}), twin)
}

func TestLabelTraps(t *testing.T) {
	long := strings.Repeat("é", 100)
	traps := []string{
		"", "a\xff", "a\xfe", "a\uFFFD", "a\uFFFD~2", "_other", "new\nline", `quo"te`, "tab\t\\", long, long + "x", long + "y",
		"\xff\xff", strings.Repeat("\xff", 500), "日本:11211", "\x00",
	}
	s := newSet(t, breaker.SetOptions{})
	seen := map[string]string{}
	for _, raw := range traps {
		b := s.Get(raw)
		_ = report(b, nil)
		label := b.Endpoint()
		if !utf8.ValidString(label) || len(label) > 128 {
			t.Errorf("label of %q is %q, %d bytes", raw, label, len(label))
		}
		if twin, taken := seen[label]; taken {
			t.Errorf("%q and %q share the label %q", raw, twin, label)
		}
		seen[label] = raw
	}
	got := gather(t, s)
	for label := range seen {
		if v := got[fmt.Sprintf(`holdfast_breaker_calls_total{client="test",endpoint=%q,kind="user",result="ok"}`, label)]; v != 1 {
			t.Errorf("label %q: %v successes, want 1", label, v)
		}
	}
	for _, name := range traps[1:] {
		b, err := breaker.New(name, breaker.Options{Endpoint: name})
		if err != nil {
			t.Fatalf("New(%q) = %v", name, err)
		}
		if n := len(gather(t, b)); n != 10 {
			t.Errorf("New(%q): %d samples, want 10", name, n)
		}
		if !utf8.ValidString(b.Name()) || len(b.Name()) > 128 || b.Name() != b.Endpoint() {
			t.Errorf("New(%q): Name, Endpoint = %q, %q", name, b.Name(), b.Endpoint())
		}
		_ = b.Close()
	}
}

func TestExpiryFreesLabels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSet(t, breaker.SetOptions{})
		s.Get("a\xff")
		time.Sleep(time.Hour)
		if got := s.Get("a\xfe").Endpoint(); got != "a\uFFFD" {
			t.Errorf("Endpoint() = %q, want the label that became free", got)
		}
		_ = s.Close()
	})
}

// Two clients of different kinds may have the same name, such as that of the service: their
// breakers' metrics do not meet in a registry, and an alert tells them apart.
func TestKindsMayShareAName(t *testing.T) {
	got := gather(t, newBreaker(t, breaker.Options{}), newBreaker(t, breaker.Options{Kind: "billing"}), newSet(t, breaker.SetOptions{
		Options: breaker.Options{Kind: "search\xff"},
	}))
	for _, kind := range []string{"user", "billing"} {
		if _, ok := got[fmt.Sprintf(`holdfast_breaker_state{client="test",endpoint="",kind=%q}`, kind)]; !ok {
			t.Errorf("kind %s has no state: %v", kind, got)
		}
	}
}

// A server, peer or primary costs so many series, beside its client's own.
func TestSeriesOfABreaker(t *testing.T) {
	b := newBreaker(t, breaker.Options{})
	_ = report(b, errDown)
	b.Trip(errDown)
	if n := len(gather(t, b)); n != 11 {
		t.Errorf("%d series, want 11", n)
	}
}
