package sentinel_test

// A program as users of the original write it: only the beginning of the import lines has changed.

import (
	"errors"
	"strconv"
	"time"

	"github.com/holdfast-go/holdfast/sentinel/radixv2/pubsub"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/sentinel"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/util"
)

var errNoSession = errors.New("no such session")

type session struct {
	client *sentinel.Client
}

func openSession(addr, password string, db int) (*session, error) {
	df := func(network, addr string) (*redis.Client, error) {
		client, err := redis.Dial(network, addr)
		if err != nil {
			return nil, err
		}
		if err = client.Cmd("AUTH", password).Err; err != nil {
			client.Close()
			return nil, err
		}
		if err = client.Cmd("select", db).Err; err != nil {
			client.Close()
			return nil, err
		}
		return client, nil
	}
	client, err := sentinel.NewClientCustom("tcp", addr, 10, df, "mymaster")
	if err != nil {
		if ce, ok := err.(*sentinel.ClientError); ok && ce.SentinelErr { //nolint:errorlint // as they wrote it
			return nil, errors.New("no sentinel: " + err.Error())
		}
		return nil, err
	}
	return &session{client}, nil
}

func (s *session) with(fn func(*redis.Client) error) error {
	conn, err := s.client.GetMaster("mymaster")
	if err != nil {
		return err
	}
	defer s.client.PutMaster("mymaster", conn)
	return fn(conn)
}

func (s *session) save(id string, fields map[string]string) error {
	return s.with(func(conn *redis.Client) error {
		conn.PipeAppend("DEL", "session:"+id)
		conn.PipeAppend("HMSET", "session:"+id, fields)
		conn.PipeAppend("EXPIRE", "session:"+id, 3600)
		for i := 0; i < 3; i++ {
			if err := conn.PipeResp().Err; err != nil {
				conn.PipeClear()
				return err
			}
		}
		if r := conn.PipeResp(); r.Err != redis.ErrPipelineEmpty { //nolint:errorlint // as they wrote it
			return errors.New("one reply too many: " + r.String())
		}
		return nil
	})
}

func (s *session) load(id string) (fields map[string]string, err error) {
	err = s.with(func(conn *redis.Client) error {
		fields, err = conn.Cmd("HGETALL", "session:"+id).Map()
		if err == nil && len(fields) == 0 {
			err = errNoSession
		}
		return err
	})
	return fields, err
}

func (s *session) count(id string) error {
	return s.with(func(conn *redis.Client) error { return conn.Cmd("INCR", "visits:"+id).Err })
}

func (s *session) visits(id string) (n int, err error) {
	err = s.with(func(conn *redis.Client) error {
		n, err = conn.Cmd("GET", "visits:"+id).Int()
		if err == redis.ErrRespNil { //nolint:errorlint // as they wrote it
			return nil
		}
		return err
	})
	return n, err
}

func (s *session) keys(pattern string) (keys []string, err error) {
	err = s.with(func(conn *redis.Client) error {
		scanner := util.NewScanner(conn, util.ScanOpts{Command: "SCAN", Pattern: pattern, Count: 10})
		for scanner.HasNext() {
			keys = append(keys, scanner.Next())
		}
		return scanner.Err()
	})
	return keys, err
}

func (s *session) keysByHand(pattern string) (keys []string, err error) {
	err = s.with(func(conn *redis.Client) error {
		for cursor := "0"; ; {
			parts, err := conn.Cmd("SCAN", cursor, "MATCH", pattern).Array()
			if err != nil {
				return err
			}
			found, err := parts[1].List()
			if err != nil {
				return err
			}
			keys = append(keys, found...)
			if cursor, err = parts[0].Str(); cursor == "0" || err != nil {
				return err
			}
		}
	})
	return keys, err
}

func (s *session) transfer(from, to string) (moved bool, err error) {
	err = s.with(func(conn *redis.Client) error {
		if err := conn.Cmd("WATCH", "session:"+from).Err; err != nil {
			return err
		}
		conn.Cmd("MULTI")
		conn.Cmd("RENAME", "session:"+from, "session:"+to)
		conn.Cmd("HGETALL", "session:"+to)
		r := conn.Cmd("EXEC")
		if r.IsType(redis.Nil) {
			return nil
		}
		replies, err := r.Array()
		if err != nil {
			return err
		}
		fields, err := replies[1].Map()
		moved = len(replies) == 2 && replies[0].IsType(redis.SimpleStr) && fields["user"] != ""
		return err
	})
	return moved, err
}

func (s *session) log(id, field, value string) (entry string, err error) {
	err = s.with(func(conn *redis.Client) error {
		if err := conn.Cmd("XADD", "log:"+id, "*", field, value).Err; err != nil {
			return err
		}
		entries, err := conn.Cmd("XRANGE", "log:"+id, "-", "+").Array()
		if err != nil {
			return err
		}
		parts, err := entries[0].Array()
		if err != nil {
			return err
		}
		fields, err := parts[1].ListBytes()
		if err == nil {
			entry = string(fields[0]) + "=" + string(fields[1])
		}
		return err
	})
	return entry, err
}

func (s *session) script(key string, n int) (doubled int64, err error) {
	err = s.with(func(conn *redis.Client) error {
		for range 2 {
			doubled, err = util.LuaEval(conn, "return redis.call('SET', KEYS[1], ARGV[1] * 2) and redis.call('GET', KEYS[1]) + 0", 1, key, n).Int64()
		}
		return err
	})
	return doubled, err
}

func (s *session) describe() (text string) {
	err := s.with(func(conn *redis.Client) error {
		text = conn.Cmd("EVAL", "return {redis.status_reply('PONG'), 5, false, {'a'}}", 0).String()
		return nil
	})
	if err != nil {
		return err.Error()
	}
	return text
}

func (s *session) push(queue, job string) error {
	return s.with(func(conn *redis.Client) error { return conn.Cmd("RPUSH", queue, job).Err })
}

func (s *session) next(queue string, seconds int) (job string, err error) {
	err = s.with(func(conn *redis.Client) error {
		r := conn.Cmd("BLPOP", queue, strconv.Itoa(seconds))
		if r.IsType(redis.Nil) {
			return nil
		}
		list, err := r.List()
		if err == nil {
			job = list[1]
		}
		return err
	})
	return job, err
}

func (s *session) publish(channel, message string) error {
	return s.with(func(conn *redis.Client) error { return conn.Cmd("PUBLISH", channel, message).Err })
}

func (s *session) listen(got chan<- string, channels ...interface{}) (stop func(), err error) {
	conn, err := s.client.GetMaster("mymaster")
	if err != nil {
		return nil, err
	}
	sub := pubsub.NewSubClient(conn)
	if r := sub.Subscribe(channels...); r.Err != nil || r.SubCount != len(channels) {
		s.client.PutMaster("mymaster", conn)
		return nil, r.Err
	}
	conn.ReadTimeout = 50 * time.Millisecond
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer s.client.PutMaster("mymaster", conn)
		for {
			select {
			case <-stopped:
				return
			default:
			}
			r := sub.Receive()
			if r.Timeout() {
				continue
			}
			if r.Err != nil {
				return
			}
			if r.Type == pubsub.Message {
				got <- r.Channel + ": " + r.Message
			}
		}
	}()
	return func() {
		close(stopped)
		<-done
	}, nil
}

func (s *session) replicated() error {
	return s.with(func(conn *redis.Client) error {
		conn.PipeAppend("SET", "replicated", 1)
		conn.PipeAppend("WAIT", 1, 10000)
		if err := conn.PipeResp().Err; err != nil {
			return err
		}
		n, err := conn.PipeResp().Int()
		if err == nil && n != 1 {
			err = errors.New("not replicated")
		}
		return err
	})
}

func isCritical(r *redis.Resp) bool { return r.IsType(redis.IOErr) }
