package grpcpeer_test

import (
	"fmt"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/internal/testutil"
	"github.com/holdfast-go/holdfast/trace"
)

// One trace leads from who asks, over gRPC, to the Getter at the owner, for one key and for several.
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
}
