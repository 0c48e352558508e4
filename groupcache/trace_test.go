package groupcache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/trace"
)

// One trace leads from who asks, over HTTP, to the Getter at the owner. A hit is told to nobody.
func TestTraceLeadsFromTheAskerToTheGetterOfTheOwner(t *testing.T) {
	var seen testutil.Recorder
	c := startCluster(t, 2, func(o *groupcache.Options) { o.Trace, o.Handover = &seen, -1 })
	asker, owner := c.nodes[0], c.nodes[1]
	key := c.ownedBy(t, owner)
	ctx, span := seen.Begin(t.Context(), trace.Operation{Name: "request"})
	if _, err := get(ctx, asker.group, key); err != nil {
		t.Fatal(err)
	}
	span.End(trace.Outcome{})
	spans := seen.Spans()
	want := []struct {
		name, result string
		kind         trace.Kind
		client       string
	}{
		{"request", "", trace.Internal, ""},
		{"get", trace.OK, trace.Internal, asker.instance.Name()},
		{"get", trace.Hit, trace.Client, asker.instance.Name()},
		{"get", trace.Hit, trace.Server, owner.instance.Name()},
		{"load", trace.OK, trace.Internal, owner.instance.Name()},
	}
	if len(spans) != len(want) {
		t.Fatalf("%d spans, want %d: %+v", len(spans), len(want), spans)
	}
	for i, s := range spans {
		if s.Name != want[i].name || s.Kind != want[i].kind || s.Result != want[i].result || s.Client != want[i].client || s.Parent != i || s.Ends != 1 {
			t.Errorf("span %d is %+v, want %+v within %d", i+1, s, want[i], i)
		}
		if i > 0 && (s.System != trace.Groupcache || s.Namespace != "g" || s.Key != key || s.Keys != 1) {
			t.Errorf("span %d is of %+v", i+1, s.Operation)
		}
	}
	if peer := spans[2].Operation.Endpoint; peer != owner.url {
		t.Errorf("the request went to %q, want %q", peer, owner.url)
	}
	if _, err := get(ctx, asker.group, key); err != nil {
		t.Fatal(err)
	}
	if got := seen.Spans()[len(spans):]; len(got) > 0 {
		t.Errorf("a hit has the spans %v", got)
	}
}

// What goes wrong at the owner is told on both sides, and so is what is not there.
func TestTraceTellsOfErrorsOfTheOwner(t *testing.T) {
	var seen testutil.Recorder
	c := startCluster(t, 2, func(o *groupcache.Options) { o.Trace, o.Handover = &seen, -1 })
	asker, owner := c.nodes[0], c.nodes[1]
	for _, step := range []struct {
		err                  error
		get, client, service string
	}{
		{errors.New("the database is away"), trace.Failed, trace.ServerError, trace.Failed},
		{&groupcache.ErrNotFound{Msg: "gone"}, trace.Miss, trace.Miss, trace.Miss},
	} {
		before := len(seen.Spans())
		c.source.answer = func(context.Context, string) (string, error) { return "", step.err }
		_, err := get(t.Context(), asker.group, c.ownedBy(t, owner, step.get))
		spans := seen.Spans()[before:]
		if len(spans) != 4 {
			t.Fatalf("%v: %d spans: %v", err, len(spans), spans)
		}
		for i, want := range []string{step.get, step.client, step.service, step.service} {
			if s := spans[i]; s.Result != want || s.IsError() != (s.Err != nil) {
				t.Errorf("%v: %s ended with %+v, want %s", step.err, s.Name, s.Outcome, want)
			}
		}
	}
}

// GetMulti has one span, with a request to each owner in it; Set and Remove have one for each peer
// that is told.
func TestTraceTellsOfSeveralKeysAndOfWrites(t *testing.T) {
	var seen testutil.Recorder
	c := startCluster(t, 2, func(o *groupcache.Options) { o.Trace, o.Handover = &seen, -1 })
	asker, owner := c.nodes[0], c.nodes[1]
	keys := []string{c.ownedBy(t, owner, "a"), c.ownedBy(t, owner, "b")}
	if found, err := asker.group.GetMulti(t.Context(), keys); len(found) != 2 || err != nil {
		t.Fatal(found, err)
	}
	spans := seen.Spans()
	whole, request, served := spans[0], spans[1], spans[2]
	for i, s := range []testutil.Recorded{whole, request, served} {
		if s.Name != "get_multi" || s.Kind != trace.Kind(i) || s.Parent != i || s.Keys != 2 || s.Items != 2 || s.Ends != 1 {
			t.Errorf("span %d of a GetMulti is %+v", i+1, s)
		}
	}
	if err := asker.group.Set(t.Context(), keys[0], []byte("v"), time.Time{}, false); err != nil {
		t.Fatal(err)
	}
	requestAndAnswer(t, &seen, "set", keys[0], owner)
	if err := asker.group.Remove(t.Context(), keys[0]); err != nil {
		t.Fatal(err)
	}
	requestAndAnswer(t, &seen, "remove", keys[0], owner)
}

// requestAndAnswer checks the last two spans: a request for a key, and within it what the owner
// made of it.
func requestAndAnswer(t *testing.T, seen *testutil.Recorder, name, key string, owner *node) {
	t.Helper()
	spans := seen.Spans()
	request, served := spans[len(spans)-2], spans[len(spans)-1]
	for kind, s := range map[trace.Kind]testutil.Recorded{trace.Client: request, trace.Server: served} {
		if s.Name != name || s.Kind != kind || s.Result != trace.OK || s.Key != key || s.Keys != 1 || s.Ends != 1 {
			t.Errorf("a %s has the span %+v, want kind %d", name, s, kind)
		}
	}
	if request.Operation.Endpoint != owner.url || served.Parent != request.ID || served.Client != owner.instance.Name() {
		t.Errorf("a %s goes to %s (want %s), and is answered by %s within %d", name, request.Operation.Endpoint, owner.url, served.Client, served.Parent)
	}
}

// What is asked for in passing, of the cache of the next peer, is told there as well.
func TestTraceTellsOfQuestionsToCaches(t *testing.T) {
	var seen testutil.Recorder
	c := startCluster(t, 2, func(o *groupcache.Options) { o.Trace = &seen })
	asker, owner := c.nodes[0], c.nodes[1]
	key := c.ownedBy(t, owner)
	if _, err := get(t.Context(), owner.group, key); err != nil {
		t.Fatal(err)
	}
	if err := asker.instance.SetPeers(asker.url); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t.Context(), asker.group, key); err != nil {
		t.Fatal(err)
	}
	for _, s := range seen.Spans() {
		if s.Name == "get_cached" && s.Kind == trace.Server && s.Result == trace.Hit && s.Items == 1 && s.Key == key && s.Parent > 0 && s.Ends == 1 {
			return
		}
	}
	t.Errorf("no span of an answer from the cache: %v", seen.Spans())
}

// A Getter that panics ends its span; the tracer that panics ends nothing.
func TestTraceOfPanics(t *testing.T) {
	var seen testutil.Recorder
	getter := groupcache.GetterFunc(func(_ context.Context, key string, dest groupcache.Sink) error {
		if key == "panic" {
			panic(key)
		}
		return dest.SetString(key, time.Time{})
	})
	for _, tracer := range []trace.Tracer{&seen, (*testutil.Recorder)(nil)} {
		i, err := groupcache.New(groupcache.Options{Trace: tracer})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = i.Close() }()
		g, err := i.NewGroup("g", 1<<20, getter)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := g.View(t.Context(), "panic"); !errors.Is(err, groupcache.ErrGetterPanicked) {
			t.Errorf("View of a Getter that panics: %v", err)
		}
		if v, err := g.View(t.Context(), "k"); v.String() != "k" || err != nil {
			t.Errorf("View: %q, %v", v, err)
		}
	}
	spans := seen.Spans()
	if len(spans) != 4 || spans[0].Result != trace.Failed || spans[1].Result != trace.Failed || !errors.Is(spans[1].Err, groupcache.ErrGetterPanicked) {
		t.Errorf("the spans of a panic are %+v", spans)
	}
}

// shouting is a tracer whose propagator sets headers that no request can have.
type shouting struct{ *testutil.Recorder }

func (s shouting) Inject(ctx context.Context, set func(key, value string)) {
	set("baggage", "user=J\u00f6rg\n")
	set("two words", "1")
	s.Recorder.Inject(ctx, set)
}

func TestTraceThatCannotBeCarriedFailsNoRequest(t *testing.T) {
	c := startCluster(t, 2, func(o *groupcache.Options) { o.Trace, o.Handover = shouting{new(testutil.Recorder)}, -1 })
	asker := c.nodes[0]
	if _, err := get(t.Context(), asker.group, c.ownedBy(t, c.nodes[1])); err != nil {
		t.Fatal(err)
	}
	if errors, loads := asker.group.Stats.PeerErrors.Get(), asker.group.Stats.PeerLoads.Get(); errors > 0 || loads != 1 {
		t.Errorf("%d requests have failed, %d were answered", errors, loads)
	}
}

// Whatever becomes of a request — it is joined, hedged, given up by its caller, or its peer hangs —
// each span ends, and once.
func TestEachSpanEndsOnce(t *testing.T) {
	eachWay(t, func(t *testing.T, by way) {
		var seen testutil.Recorder
		c := by.cluster(t, 3, func(o *groupcache.Options) {
			hasty(o)
			o.Trace = &seen
		})
		c.source.answer = func(ctx context.Context, key string) (string, error) {
			select {
			case <-time.After(time.Duration(key[len(key)-1]%4) * 5 * time.Millisecond):
				return key, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		var callers sync.WaitGroup
		for n := range 12 {
			callers.Go(func() {
				group := c.nodes[n%3].group
				for i := range 40 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%5+1)*4*time.Millisecond)
					key := fmt.Sprint("key ", i)
					switch i % 4 {
					case 0:
						_, _ = group.GetMulti(ctx, []string{key, key + "a", key + "b"})
					case 1:
						_ = group.Remove(ctx, fmt.Sprint("key ", i-1))
					default:
						_, _ = group.View(ctx, key)
					}
					cancel()
					if n == 0 && i == 20 {
						c.nodes[2].hung.Store(true)
					}
				}
			})
		}
		callers.Wait()
		c.nodes[2].hung.Store(false)
		var spans []testutil.Recorded // removals that were missed go on in the background, and have spans
		eventually(t, "each span has ended", func() bool {
			spans = seen.Spans()
			return !slices.ContainsFunc(spans, func(s testutil.Recorded) bool { return s.Ends == 0 })
		})
		if len(spans) < 200 {
			t.Errorf("only %d spans", len(spans))
		}
		for _, s := range spans {
			if s.Ends != 1 || s.Result == "" || s.IsError() != (s.Err != nil) {
				t.Errorf("a span has ended %d times: %+v", s.Ends, s)
			}
		}
	})
}
