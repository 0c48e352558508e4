// Package goredis makes go-redis clients that follow a primary through Sentinel failovers without
// losing writes.
//
//	c, err := sentinel.New(ctx, sentinels, sentinel.Options{Names: []string{"mymaster"}})
//	rdb, err := goredis.New(c, "mymaster", &redis.Options{DB: 2})
//
// The client is an ordinary *redis.Client: pipelines, transactions, subscriptions, AutoPipeline and
// whatever takes a redis.UniversalClient work. While there is no primary its commands fail at once
// with sentinel.ErrNoPrimary; while a failover is under way writes wait for its end. A command is
// sent again only if it was not carried out, or changes nothing. An error that is not a reply of
// the server has sentinel.ErrNotSent or sentinel.ErrOutcomeUnknown in it.
package goredis
