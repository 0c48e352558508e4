package main

import (
	"context"
	"crypto/tls"
	"net"

	"github.com/mediocregopher/radix/v4"
	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
)

// radixPeer is radix's own Sentinel.
type radixPeer struct{ sentinel *radix.Sentinel }

func openRadix(ctx context.Context, s settings, dials *dialLog) (client, error) {
	dialer := radix.Dialer{NetDialer: dials}
	config := radix.SentinelConfig{PoolConfig: radix.PoolConfig{Dialer: dialer}, SentinelDialer: dialer}
	sentinel, err := config.New(ctx, master, s.Sentinels)
	if err != nil {
		return nil, err
	}
	return radixPeer{sentinel}, nil
}

func (p radixPeer) Get(ctx context.Context, key string) (string, error) {
	var value string
	err := p.sentinel.Do(ctx, radix.Cmd(&value, "GET", key))
	return value, err
}

func (p radixPeer) Set(ctx context.Context, key, value string) error {
	return p.sentinel.Do(ctx, radix.Cmd(nil, "SET", key, value))
}

func (p radixPeer) Close() { _ = p.sentinel.Close() }

// goRedisPeer is go-redis's failover client.
type goRedisPeer struct{ client *goredis.Client }

// openGoRedis turns on the deadlines of contexts, which go-redis ignores otherwise.
func openGoRedis(s settings, dials *dialLog) client {
	return goRedisPeer{goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: master, SentinelAddrs: s.Sentinels, Dialer: dials.DialContext, ContextTimeoutEnabled: true,
	})}
}

// openBatches is the same with commands in batches; those of a full-duplex one are sent while
// replies to others come in.
//
//nolint:revive // the flag is an option of go-redis.
func openBatches(s settings, dials *dialLog, fullDuplex bool) (client, error) {
	rdb := goredis.NewFailoverClient(&goredis.FailoverOptions{
		MasterName: master, SentinelAddrs: s.Sentinels, Dialer: dials.DialContext, ContextTimeoutEnabled: true,
		AutoPipelineOptions: &goredis.AutoPipelineOptions{FullDuplex: fullDuplex},
	})
	batches, err := rdb.AutoPipeline()
	return batchesPeer{rdb, batches}, err
}

func (p goRedisPeer) Get(ctx context.Context, key string) (string, error) {
	return p.client.Get(ctx, key).Result()
}

func (p goRedisPeer) Set(ctx context.Context, key, value string) error {
	return p.client.Set(ctx, key, value, 0).Err()
}

func (p goRedisPeer) Close() { _ = p.client.Close() }

// rueidisPeer is rueidis without its client-side cache, which answers without asking the server.
type rueidisPeer struct{ client rueidis.Client }

func openRueidis(s settings, dials *dialLog) (client, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: s.Sentinels, Sentinel: rueidis.SentinelOption{MasterSet: master},
		DialCtxFn: func(ctx context.Context, addr string, dialer *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return dials.with(ctx, dialer, "tcp", addr)
		},
	})
	if err != nil {
		return nil, err
	}
	return rueidisPeer{c}, nil
}

func (p rueidisPeer) Get(ctx context.Context, key string) (string, error) {
	return p.client.Do(ctx, p.client.B().Get().Key(key).Build()).ToString()
}

func (p rueidisPeer) Set(ctx context.Context, key, value string) error {
	return p.client.Do(ctx, p.client.B().Set().Key(key).Value(value).Build()).Error()
}

func (p rueidisPeer) Close() { p.client.Close() }
