package etcd

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"runtime"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "github.com/holdfast-go/holdfast/groupcache/groupcachepb"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer"
	"github.com/holdfast-go/holdfast/groupcache/grpcpeer/grpcpb"
)

// client is a Fetcher that asks one peer.
type client struct {
	addr string
	conn *grpc.ClientConn
	err  error // what is wrong with the name of the service
}

var _ Fetcher = (*client)(nil)

// NewClient makes a Fetcher that asks one peer, of this module or the original's, by the name under
// which it is registered, such as groupcache/10.0.0.1:6324, or by its address alone. A wrong name
// is an error of Fetch. It speaks plain text, connects when it is first asked, and keeps the
// connection for as long as it is used. A Server does not need it.
func NewClient(service string) *client { //nolint:revive // the original's signature
	c := &client{addr: service[strings.LastIndexByte(service, '/')+1:]}
	if c.err = (&grpcpeer.Network{}).CheckAddress(c.addr); c.err != nil {
		c.err = fmt.Errorf("etcd: the service %.100q: %w", service, c.err)
		return c
	}
	c.conn, c.err = grpc.NewClient("passthrough:///"+url.PathEscape(c.addr),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)), // values are as large as the peer lets them be
	)
	if c.err == nil {
		runtime.AddCleanup(c, func(conn *grpc.ClientConn) { _ = conn.Close() }, c.conn) // the original has no Close
	}
	return c
}

// Fetch asks the peer for a key. It takes 10 s at most. The error of the peer's Retriever is one of
// gRPC, too.
func (c *client) Fetch(group string, key string) ([]byte, error) {
	if c.err != nil {
		return nil, c.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	r, err := grpcpb.NewGroupCacheClient(c.conn).Get(ctx, &pb.GetRequest{Group: &group, Key: &key})
	if err != nil {
		return nil, fmt.Errorf("etcd: fetch from %s: %w", c.addr, err)
	}
	return r.GetValue(), nil
}

// Close ends the connection. Without it that ends some time after the client is used no more.
func (c *client) Close() error {
	if c.conn == nil {
		return nil
	}
	return c.conn.Close()
}
