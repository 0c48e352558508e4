package grpcpeer_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/trace"
)

// One trace leads from who asks, over gRPC, to the Getter at the owner, for one key and for
// several.
func TestTraceLeadsFromTheAskerToTheGetterOfTheOwner(t *testing.T) {
	var seen testutil.Recorder
	c := startCluster(t, 2, func(o *groupcache.Options) { o.Trace, o.Handover = &seen, -1 }, grpcpeer.Options{})
	asker, owner := c.nodes[0], c.nodes[1]
	if _, err := get(t.Context(), asker.group, c.ownedBy(owner)); err != nil {
		t.Fatal(err)
	}
	spans := seen.Spans()
	if len(spans) != 4 {
		t.Fatalf("%d spans, want 4: %+v", len(spans), spans)
	}
	for i, kind := range []trace.Kind{trace.Internal, trace.Client, trace.Server, trace.Internal} {
		client := asker.instance.Name()
		if i >= 2 {
			client = owner.instance.Name()
		}
		if s := spans[i]; s.Kind != kind || s.Parent != i || s.Client != client || s.Ends != 1 || s.IsError() {
			t.Errorf("span %d is %+v, want kind %d of %s within %d", i+1, s, kind, client, i)
		}
	}
	var keys []string
	for i := 0; len(keys) < 2; i++ {
		if key := fmt.Sprint(i); c.ring.Get(key) == owner.addr {
			keys = append(keys, key)
		}
	}
	if _, err := asker.group.GetMulti(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	for i, s := range seen.Spans()[4:7] {
		if s.Name != "get_multi" || s.Kind != trace.Kind(i) || i > 0 && s.Parent != 4+i || s.Items != 2 || s.Ends != 1 {
			t.Errorf("span %d of a GetMulti is %+v", i+1, s)
		}
	}
	if err := errors.Join(asker.group.Set(t.Context(), keys[0], []byte("v"), time.Time{}, false), asker.group.Remove(t.Context(), keys[0])); err != nil {
		t.Fatal(err)
	}
	answered := map[string]bool{}
	for _, s := range seen.Spans() {
		if s.Kind == trace.Server && s.Key == keys[0] && s.Parent > 0 && s.Result == trace.OK && s.Ends == 1 {
			answered[s.Name] = true
		}
	}
	if !answered["set"] || !answered["remove"] {
		t.Errorf("of a Set and a Remove the owner has told %v", answered)
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
	c := startCluster(t, 2, func(o *groupcache.Options) { o.Trace, o.Handover = shouting{new(testutil.Recorder)}, -1 }, grpcpeer.Options{})
	asker := c.nodes[0]
	if _, err := get(t.Context(), asker.group, c.ownedBy(c.nodes[1])); err != nil {
		t.Fatal(err)
	}
	if errors, loads := asker.group.Stats.PeerErrors.Get(), asker.group.Stats.PeerLoads.Get(); errors > 0 || loads != 1 {
		t.Errorf("%d requests have failed, %d were answered", errors, loads)
	}
}
