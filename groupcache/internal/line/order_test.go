package line_test

import (
	"bufio"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
	"github.com/holdfast-go/holdfast/groupcache/internal/multiwire"
)

// A Set whose caller had left was carried out after the Remove that it was followed by, if its
// goroutine ran later: the value stayed.
func TestASetThatWasGivenUpIsNotDoneAfterARemove(t *testing.T) {
	removed := make(chan struct{})
	answers := &local{traced: func() { <-removed }}
	client, server := connected(t)
	defer func() { _ = client.Close() }()
	answer(t, server, answers)
	p := &peerOf{client, bufio.NewReader(client)}
	stamp := frame.Stamp{Time: time.Now()}.Append(nil)
	set := frame.AppendTrace(nil, multiwire.AppendRequest(nil, []string{"name", "value"}))
	set = append(frame.AppendSet(append(set, stamp...), "k", 0), "v"...)
	p.say(frame.Head{Kind: frame.Set, Flags: frame.Traced, Stream: 1}, set)
	p.say(frame.Head{Kind: frame.Cancel, Stream: 1}, nil)
	p.say(frame.Head{Kind: frame.Remove, Stream: 2}, multiwire.AppendRequest(stamp, []string{"k"}))
	if h, _, err := p.next(); err != nil || h.Kind != frame.Done || h.Stream != 2 {
		t.Errorf("%+v, %v, want that Remove is done", h, err)
	}
	close(removed)
	h, body, err := p.next()
	if err != nil || h.Kind != frame.Refused || h.Stream != 1 || frame.Code(body[0]) != frame.Canceled {
		t.Errorf("%+v %q, %v, want that Set was given up", h, body, err)
	}
	if done := answers.heard(); !slices.Equal(done, []string{"remove  k"}) {
		t.Errorf("%q", done)
	}
}
