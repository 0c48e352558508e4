package httppeer

import "github.com/holdfast-go/holdfast/groupcache/internal/wire"

// Network carries requests between peers over HTTP. A Server answers them, which the user mounts.
type Network struct {
	// Client is what the transports share.
	Client Client
	// BasePath is the path of requests, the same at all peers.
	BasePath string
}

// CheckAddress says why an address cannot be that of a peer, which is a base URL.
func (*Network) CheckAddress(addr string) error {
	_, err := BaseURL(addr)
	return err
}

// Attach does nothing: a Server answers.
func (*Network) Attach(wire.Local) error { return nil }

// Dial makes what asks the peer at an address. Nothing is sent.
func (n *Network) Dial(addr string) wire.Transport {
	t := n.Client.Dial(addr + n.BasePath)
	if n.Client.Upgrader == nil {
		return t
	}
	return newFramed(t)
}
