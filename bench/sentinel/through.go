package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	redigo "github.com/gomodule/redigo/redis"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/holdfast-go/holdfast/sentinel"
	adapter "github.com/holdfast-go/holdfast/sentinel/goredis"
)

// Names of other clients whose connections are holdfast's.
const (
	throughGoRedis    = "holdfast+go-redis"
	throughBatches    = "holdfast+AutoPipeline"
	throughFullDuplex = "holdfast+FullDuplex"
	throughPlain      = "holdfast+go-redis without hook"
	throughRedigo     = "holdfast+redigo"
	throughRueidis    = "holdfast+rueidis"
)

func throughNames() []string {
	return []string{throughGoRedis, throughBatches, throughFullDuplex, throughPlain, throughRedigo, throughRueidis}
}

// through is another client whose connections are those of ours.
type through struct {
	client

	follows holdfast
}

// Close closes both.
func (t through) Close() {
	t.client.Close()
	t.follows.Close()
}

// openThrough makes the other client of this name.
//
//nolint:contextcheck // the client outlives the context
func openThrough(ctx context.Context, name string, s settings, dials *dialLog) (client, error) {
	follows, err := openHoldfast(ctx, s, dials)
	if err != nil {
		return nil, err
	}
	ours := follows.(holdfast)
	inner, err := onto(ours.client, name)
	if err != nil {
		follows.Close()
		return nil, err
	}
	return through{inner, ours}, nil
}

func onto(c *sentinel.Client, name string) (client, error) {
	dialer := c.Dialer(master)
	switch name {
	case throughPlain:
		return goRedisPeer{goredis.NewClient(&goredis.Options{Addr: "127.0.0.1:0", Dialer: dialer.DialContext, ContextTimeoutEnabled: true})}, nil
	case throughRedigo:
		return redigoPeer{redigoPool(c, dialer)}, nil
	case throughRueidis:
		r, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{"primary:0"}, ForceSingleClient: true,
			DialCtxFn: func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
				return dialer.DialContext(ctx, "tcp", addr)
			},
		})
		return rueidisPeer{r}, err
	}
	rdb, err := adapter.New(c, master, &goredis.Options{AutoPipelineOptions: &goredis.AutoPipelineOptions{FullDuplex: name == throughFullDuplex}})
	if err != nil || name == throughGoRedis {
		return goRedisPeer{rdb}, err
	}
	batches, err := rdb.AutoPipeline()
	return batchesPeer{rdb, batches}, err
}

// batchesPeer is go-redis with its commands in batches.
type batchesPeer struct {
	client  *goredis.Client
	batches *goredis.AutoPipeliner
}

func (p batchesPeer) Get(ctx context.Context, key string) (string, error) {
	return p.batches.Get(ctx, key).Result()
}

func (p batchesPeer) Set(ctx context.Context, key, value string) error {
	return p.batches.Set(ctx, key, value, 0).Err()
}

func (p batchesPeer) Close() {
	_ = p.batches.Close()
	_ = p.client.Close()
}

// redigoPeer is redigo with a pool.
type redigoPeer struct{ pool *redigo.Pool }

func redigoPool(c *sentinel.Client, dialer *sentinel.Dialer) *redigo.Pool {
	return &redigo.Pool{
		MaxIdle: 64,
		DialContext: func(ctx context.Context) (redigo.Conn, error) {
			return redigo.DialContext(ctx, "tcp", "", redigo.DialContextFunc(dialer.DialContext))
		},
		TestOnBorrow: func(_ redigo.Conn, lastUsed time.Time) error {
			if lastUsed.Before(c.Topology(master).Since) {
				return errors.New("the primary is another since")
			}
			return nil
		},
	}
}

func (p redigoPeer) do(ctx context.Context, command string, args ...any) (any, error) {
	conn, err := p.pool.GetContext(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return redigo.DoContext(conn, ctx, command, args...)
}

func (p redigoPeer) Get(ctx context.Context, key string) (string, error) {
	return redigo.String(p.do(ctx, "GET", key))
}

func (p redigoPeer) Set(ctx context.Context, key, value string) error {
	_, err := p.do(ctx, "SET", key, value)
	return err
}

func (p redigoPeer) Close() { _ = p.pool.Close() }
