package groupcache_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/holdfast-go/holdfast/groupcache"
	"github.com/holdfast-go/holdfast/groupcache/internal/frame"
)

// way is how the peers of a test ask each other.
type way string

const (
	byFrame   way = "by frames"
	byRequest way = "over HTTP"
)

// eachWay runs a test of what happens to requests, whichever way they go.
func eachWay(t *testing.T, test func(t *testing.T, by way)) {
	t.Helper()
	for _, by := range []way{byFrame, byRequest} {
		t.Run(string(by), func(t *testing.T) { test(t, by) })
	}
}

// node starts one that is asked this way, and whose faults are those of frames, too.
func (by way) node(t *testing.T, s groupcache.Getter, adapt func(*groupcache.Options), opts ...groupcache.GroupOption) *node {
	t.Helper()
	n := startNode(t, s, by.adapted(adapt), opts...)
	n.tapped = by == byFrame
	return n
}

// adapted has the peers be asked this way.
func (by way) adapted(adapt func(*groupcache.Options)) func(*groupcache.Options) {
	return func(o *groupcache.Options) {
		if adapt != nil {
			adapt(o)
		}
		if by == byRequest {
			overHTTP(o)
		}
	}
}

// cluster is startCluster whose nodes ask each other this way, and no other.
func (by way) cluster(t *testing.T, n int, adapt func(*groupcache.Options), opts ...groupcache.GroupOption) *cluster {
	t.Helper()
	c := &cluster{source: newSource()}
	for range n {
		c.nodes = append(c.nodes, by.node(t, c.source, adapt, opts...))
	}
	c.acquaint(t)
	by.expect(t, c.nodes...)
	return c
}

// expect waits until nodes ask each other this way.
func (by way) expect(t *testing.T, nodes ...*node) {
	t.Helper()
	for _, n := range nodes {
		eventually(t, "they ask "+string(by), func() bool { return len(nodes) == 1 || byFrames(n.instance) == (by == byFrame) })
	}
}

// frameTap stands between a node and a peer that asks it by frames. It does to frames what the
// node does to requests of HTTP.
type frameTap struct {
	node  *node
	peer  net.Conn
	inner net.Conn // that leads to the node

	mu   sync.Mutex          // of the bytes written to either
	late map[uint32]struct{} // streams whose answers are held back; guarded by mu
}

// tapping has a connection that goes on with frames be tapped.
type tapping struct {
	http.ResponseWriter
	node *node
}

// Unwrap is for http.ResponseController.
func (t tapping) Unwrap() http.ResponseWriter { return t.ResponseWriter }

// Hijack implements http.Hijacker.
func (t tapping) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := http.NewResponseController(t.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	outer, inner := net.Pipe()
	x := &frameTap{node: t.node, peer: conn, inner: inner, late: make(map[uint32]struct{})}
	t.node.taps.Go(func() { x.requests(buffered.Reader) })
	t.node.taps.Go(func() { x.answers(bufio.NewReader(inner)) })
	t.node.mu.Lock()
	t.node.conns = append(t.node.conns, conn)
	t.node.mu.Unlock()
	return outer, bufio.NewReadWriter(bufio.NewReader(outer), bufio.NewWriter(outer)), nil
}

// kill ends a node as the end of its process does, but for its answers to what is under way.
func (n *node) kill() {
	_ = n.server.Close()
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, c := range n.conns {
		_ = c.Close()
	}
}

func readFrame(r io.Reader) (h frame.Head, whole []byte, err error) {
	whole = make([]byte, frame.HeadSize)
	if _, err := io.ReadFull(r, whole); err != nil {
		return h, nil, err
	}
	if h, err = frame.ParseHead(whole); err != nil {
		return h, nil, err
	}
	whole = append(whole, make([]byte, h.Length)...)
	_, err = io.ReadFull(r, whole[frame.HeadSize:])
	return h, whole, err
}

// requests passes on what the peer asks.
func (x *frameTap) requests(from io.Reader) {
	defer func() { _ = x.inner.Close() }()
	for {
		h, whole, err := readFrame(from)
		if err != nil {
			return
		}
		x.node.count(h.Kind)
		switch {
		case x.node.hung.Load(): // it takes requests and answers none
		case x.node.down.Load():
			x.refuse(h)
		case h.Kind == frame.Remove, h.Kind == frame.Forget, h.Kind == frame.Sweep, h.Kind == frame.Written:
			x.node.taps.Go(func() { x.told(h, whole) })
		default:
			if h.Kind == frame.Cached && x.node.late.Load() != nil {
				x.mu.Lock()
				x.late[h.Stream] = struct{}{}
				x.mu.Unlock()
			}
			x.write(x.inner, whole)
		}
	}
}

// told passes on what may be held back.
func (x *frameTap) told(h frame.Head, whole []byte) {
	removal := h.Kind == frame.Remove || h.Kind == frame.Forget
	if hold := x.node.hold.Load(); hold != nil && removal {
		(*hold)()
	}
	if before := x.node.before.Load(); before != nil && !removal {
		(*before)(whole[frame.HeadSize:])
	}
	if x.node.untold.Load() && removal {
		x.refuse(h)
		return
	}
	x.write(x.inner, whole)
}

// refuse answers as what stands before a node that is gone.
func (x *frameTap) refuse(h frame.Head) {
	body := frame.AppendRefusal(nil, frame.Ending, "it is away")
	answer := frame.Head{Kind: frame.Refused, Stream: h.Stream, Length: uint32(len(body))}
	if h.Kind != frame.Cancel {
		x.write(x.peer, append(answer.Append(nil), body...))
	}
}

func (x *frameTap) write(to net.Conn, b []byte) {
	x.mu.Lock()
	defer x.mu.Unlock()
	_, _ = to.Write(b)
}

// answers passes on what the node answers: first that it goes on with frames.
func (x *frameTap) answers(from *bufio.Reader) {
	defer func() { _ = x.peer.Close() }()
	for line := []byte("first"); len(bytes.TrimSpace(line)) > 0; {
		var err error
		if line, err = from.ReadBytes('\n'); err != nil {
			return
		}
		x.write(x.peer, line)
	}
	for {
		h, whole, err := readFrame(from)
		if err != nil {
			return
		}
		x.mu.Lock()
		_, late := x.late[h.Stream]
		delete(x.late, h.Stream)
		x.mu.Unlock()
		if l := x.node.late.Load(); late && l != nil {
			x.node.taps.Go(func() {
				l.made <- struct{}{}
				<-l.release
				x.write(x.peer, whole)
			})
			continue
		}
		x.write(x.peer, whole)
	}
}

// count counts a request as that of HTTP is.
func (n *node) count(k frame.Kind) {
	switch k {
	case frame.Set:
		n.sets.Add(1)
	case frame.Multi, frame.Cached, frame.Written, frame.Sweep, frame.Offer:
		n.posts.Add(1)
	default:
	}
}
