// Package sentinel has the names and signatures of github.com/mediocregopher/radix.v2/sentinel, for
// programs that use it: see package redis beside for how they move. Behind it works package
// github.com/holdfast-go/holdfast/sentinel, with its defaults: failovers are followed at the
// promotion, all sentinels are heard, commands share a connection, and while there is no primary
// they fail at once.
package sentinel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	holdfast "github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
)

// ClientError is the error of NewClient and GetMaster.
type ClientError = holdfast.ClientError

// DialFunc opens a connection to a server and prepares it: AUTH and SELECT belong there. It is
// called for each connection that the client opens, by several goroutines at once. The ReadTimeout
// of what it returns is that of the leases as well.
type DialFunc func(network, addr string) (*redis.Client, error)

// Client leads to primaries. It has no useful zero value: NewClient makes one. It is safe for
// concurrent use.
type Client struct {
	client *holdfast.Client
	opener *opener
}

// opener opens connections with a DialFunc.
type opener struct {
	dial    DialFunc
	timeout atomic.Int64 // the ReadTimeout of what it returned last
}

// NewClient makes a client for the primaries of the names. The address is that of a sentinel, or of
// several with commas between them. Of poolSize connections each primary gets as many for what
// cannot share one, such as transactions. The error is a *ClientError.
func NewClient(network, address string, poolSize int, names ...string) (*Client, error) {
	return NewClientCustom(network, address, poolSize, redis.Dial, names...)
}

// NewClientCustom is NewClient with a function that opens the connections to the servers. What it
// returns must be a connection of redis.Dial or redis.DialTimeout.
func NewClientCustom(network, address string, poolSize int, df DialFunc, names ...string) (*Client, error) {
	o := &opener{dial: df}
	c, err := holdfast.NewClientWith(network, address, holdfast.Options{
		Names: names, PrivateConns: poolSize, Server: holdfast.Endpoint{Dial: o.open},
	})
	if err != nil {
		return nil, err
	}
	return &Client{client: c, opener: o}, nil
}

// Holdfast is the client behind this one, for what this package does not have, such as Stats.
func (c *Client) Holdfast() *holdfast.Client { return c.client }

// GetMaster leases a connection to the primary of the name, as it is at that moment. Give it back
// with PutMaster. The error is a *ClientError.
func (c *Client) GetMaster(name string) (*redis.Client, error) {
	lease, err := c.client.GetMaster(name)
	if err != nil {
		return nil, err
	}
	addr := lease.Addr()
	client := redis.Leased(lease, func() (*redis.Client, error) { return c.opener.dial("tcp", addr) })
	client.ReadTimeout = time.Duration(c.opener.timeout.Load())
	return client, nil
}

// PutMaster gives a lease back.
func (c *Client) PutMaster(_ string, client *redis.Client) {
	if client != nil {
		client.PutBack()
	}
}

// CarefullyPutMaster gives a lease back, and closes its connection if the error is not one that the
// server replied. It is meant to be deferred.
func (c *Client) CarefullyPutMaster(name string, client *redis.Client, potentialErr *error) {
	if client != nil && potentialErr != nil && *potentialErr != nil && !redis.IsReply(*potentialErr) {
		_ = client.Close()
	}
	c.PutMaster(name, client)
}

// Close closes all connections. It may be called more than once.
func (c *Client) Close() { c.client.Close() }

// open gives the core the connection that the function opens. The function has no context: if it
// takes longer, its connection is closed when it comes.
func (o *opener) open(ctx context.Context, network, addr string) (net.Conn, error) {
	type opened struct {
		conn net.Conn
		err  error
	}
	done := make(chan opened, 1)
	go func() {
		var got opened
		defer func() {
			if p := recover(); p != nil {
				got.err = fmt.Errorf("the DialFunc panicked: %v", p)
			}
			done <- got
		}()
		got.conn, got.err = o.detached(network, addr)
	}()
	select {
	case got := <-done:
		return got.conn, got.err
	case <-ctx.Done():
		go func() {
			if got := <-done; got.conn != nil {
				_ = got.conn.Close()
			}
		}()
		return nil, ctx.Err()
	}
}

func (o *opener) detached(network, addr string) (net.Conn, error) {
	client, err := o.dial(network, addr)
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, errors.New("the DialFunc returned neither a connection nor an error")
	}
	o.timeout.Store(int64(client.ReadTimeout))
	return client.Detach()
}
