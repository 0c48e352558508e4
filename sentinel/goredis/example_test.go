package goredis_test

import (
	"context"
	"errors"
	"log"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/holdfast-go/holdfast/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/goredis"
)

// A cache in front of a database: while there is no primary every read is a miss, within a
// microsecond.
func ExampleNew() {
	ctx := context.Background()
	c, err := sentinel.New(ctx, []string{"sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"}, sentinel.Options{Names: []string{"mymaster"}})
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()
	rdb, err := goredis.New(c, "mymaster", &redis.Options{DB: 2})
	if err != nil {
		log.Print(err)
		return
	}
	defer func() { _ = rdb.Close() }()

	switch value, err := rdb.Get(ctx, "user:1").Result(); {
	case err == nil:
		log.Print(value)
	case errors.Is(err, redis.Nil), errors.Is(err, sentinel.ErrNoPrimary):
		log.Print("a miss: ask the database")
	default:
		log.Print(err)
	}
	err = rdb.Set(ctx, "user:1", "Ada", time.Hour).Err()
	if errors.Is(err, sentinel.ErrOutcomeUnknown) {
		log.Print("it may have been written: ", err)
	}
}
