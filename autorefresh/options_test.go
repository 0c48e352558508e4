package autorefresh_test

import (
	"bytes"
	"context"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/holdfast-go/holdfast/autorefresh"
	"github.com/holdfast-go/holdfast/breaker"
)

func TestBadOptions(t *testing.T) {
	good := newSource().refresh
	for want, o := range map[string]options{
		"Options.Period is 0s: set a positive duration":     {},
		"Options.Period is -1s":                             {Period: -time.Second},
		"Options.Period is 2562047h47m16.854775807s":        {Period: math.MaxInt64},
		"Options.MinPeriod is 2s: set at most Period, 1s":   {MinPeriod: 2 * time.Second},
		"Options.MaxPeriod is 1ms: set at least Period, 1s": {MaxPeriod: time.Millisecond},
		"Options.MaxPeriod is 87600h0m0s":                   {MaxPeriod: 87600 * time.Hour},
		"Options.HotFor is -1ns":                            {HotFor: -1},
		"Options.Workers is -1":                             {Workers: -1},
		"Options.Timeout is -1ns":                           {Timeout: -1},
		"Options.MaxBackoff is -1ns":                        {MaxBackoff: -1},
		"Options.MaxStale is 999ms: set at least":           {MaxStale: 999 * time.Millisecond},
		"Options.TerminalTTL is -1ns":                       {TerminalTTL: -1},
		"Options.MaxItems is -1":                            {MaxItems: -1},
		"Options.MaxLoads is -1":                            {MaxLoads: -1},
		"Options.LoadTimeout is 1752000h0m0s":               {LoadTimeout: 1752000 * time.Hour},
		"Options.NegativeTTL is -1ns":                       {NegativeTTL: -1},
		"Options.StoreTTL is -1ns":                          {StoreTTL: -1},
		"Options.StoreTimeout is 1752000h0m0s":              {StoreTimeout: 1752000 * time.Hour},
		"Options.ShieldRate is -1":                          {ShieldRate: -1},
		"Options.First is 7":                                {First: 7},
		"Options.WhenStale is -1":                           {WhenStale: -1},
		"Options.Overflow is 2":                             {Overflow: 2},
		"Options.BatchSize is 10: use NewBatch":             {BatchSize: 10},
		"Options.Limiter is a nil pointer":                  {Limiter: (*rate.Limiter)(nil)},
		"breaker: Options.Window is -1ns":                   {Breaker: breaker.Options{Window: -1}},
	} {
		if !strings.Contains(want, "Period is 0s") && o.Period == 0 {
			o.Period = time.Second
		}
		if _, err := autorefresh.New(good, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v, want %q", err, want)
		}
	}
	if _, err := autorefresh.New[int, int](nil, options{Period: time.Second}); err == nil || !strings.Contains(err.Error(), "function is nil") {
		t.Errorf("New(nil): %v", err)
	}
	if _, err := autorefresh.NewBatch[int, int](nil, options{Period: time.Second}); err == nil || !strings.Contains(err.Error(), "function is nil") {
		t.Errorf("NewBatch(nil): %v", err)
	}
	for _, o := range []options{{Period: time.Second, BatchSize: 50, MaxItems: 49}, {Period: time.Second, MaxItems: 99}} {
		if _, err := autorefresh.NewBatch((&batches{}).refresh, o); err == nil || !strings.Contains(err.Error(), "Options.MaxItems is") {
			t.Errorf("NewBatch with MaxItems %d and batches of %d: %v", o.MaxItems, o.BatchSize, err)
		}
	}
}

func TestZeroOptionsButThePeriodWork(t *testing.T) {
	s := newSource()
	inBubble(t, options{Period: time.Minute}, s.refresh, func(t *testing.T, c *cache) {
		createMany(t, c, 100)
		settle(time.Hour)
		if n := c.Stats().Updated; n < 6000 || n > 6800 {
			t.Errorf("%d refreshes of 100 items in 60 periods", n)
		}
	})
}

func TestMetrics(t *testing.T) {
	s := newSource()
	registry := prometheus.NewPedanticRegistry()
	var log bytes.Buffer
	o := options{Period: time.Second, MaxItems: 100, Store: newShared(), Logger: slog.New(slog.NewTextHandler(&log, nil))}
	synctest.Test(t, func(t *testing.T) {
		all := replicas(t, 2, o, s.refresh)
		for _, c := range all {
			if err := registry.Register(c); err != nil {
				t.Fatalf("two caches with default names: %v", err)
			}
		}
		createMany(t, all[0], 50)
		_, _ = all[0].Load(t.Context(), 77)
		all[0].Get(1000)
		settle(10 * time.Second)
		s.setFail(func(int) error { return errDown })
		settle(10 * time.Second)
		s.setFail(nil)
		settle(10 * time.Second)
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		values := make(map[string]float64)
		for _, f := range families {
			for _, m := range f.GetMetric() {
				name := f.GetName()
				for _, l := range m.GetLabel() {
					if l.GetName() == "client" && !strings.HasPrefix(l.GetValue(), "autorefresh") {
						t.Errorf("%s: label client is %q", name, l.GetValue())
					}
					if l.GetName() != "client" && l.GetName() != "kind" && l.GetName() != "endpoint" {
						name += " " + l.GetValue()
					}
				}
				values[name] += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		for _, want := range []string{
			"holdfast_autorefresh_items refreshed", "holdfast_autorefresh_refreshes_total updated", "holdfast_autorefresh_refreshes_total failed",
			"holdfast_autorefresh_lateness_seconds", "holdfast_autorefresh_served_age_seconds", "holdfast_autorefresh_misses_total", "holdfast_autorefresh_loads_total ok",
			"holdfast_autorefresh_store_keys_total hit", "holdfast_autorefresh_store_keys_total miss", "holdfast_breaker_openings_total",
		} {
			if values[want] == 0 {
				t.Errorf("metric %s is 0", want)
			}
		}
		if values["holdfast_autorefresh_items refreshed"]+values["holdfast_autorefresh_items failing"] != 51 {
			t.Errorf("items by state %v, want 51 in all", values)
		}
		for _, c := range all {
			mustClose(t, c)
		}
	})
	for _, want := range []string{"source is failing", "source is back", "client=autorefresh"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log %s, want %q", log.String(), want)
		}
	}
}

func TestLoggerIsToldOfStuckCallsWithoutTheirValues(t *testing.T) {
	var log bytes.Buffer
	stuck := func(context.Context, string, string) (string, error) {
		time.Sleep(time.Minute)
		return "", nil
	}
	o := autorefresh.Options[string, string]{
		Period: time.Second, Timeout: time.Second, MaxStuck: -1, Workers: 1, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	synctest.Test(t, func(t *testing.T) {
		c, err := autorefresh.New(stuck, o)
		if err != nil {
			t.Fatal(err)
		}
		_, _, _ = c.GetOrCreate(strings.Repeat("k\n", 1000), "secret")
		settle(30 * time.Second)
		_ = c.Close()
		time.Sleep(time.Minute)
		synctest.Wait()
	})
	if text := log.String(); !strings.Contains(text, "overrun") || strings.Contains(text, "secret") || len(text) > 400 {
		t.Errorf("log %q, want one line with a cut key and without values", text)
	}
}
