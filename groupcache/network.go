package groupcache

import "github.com/holdfast-go/holdfast/groupcache/internal/wire"

// A Network carries requests between peers in the place of HTTP. Package grpcpeer has one, over
// gRPC; other modules cannot make one. It serves one Instance.
type Network interface {
	// CheckAddress returns an error that says why an address cannot be that of a peer.
	CheckAddress(addr string) error
	// Attach makes local what answers peers. It is called once, before Dial.
	Attach(local wire.Local) error
	// Dial makes what asks the peer at an address. Nothing is sent before it is asked.
	Dial(addr string) wire.Transport
}
