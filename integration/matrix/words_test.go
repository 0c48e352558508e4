package matrix_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
)

// words are what a server says instead of serving, each to all requests of a connection.
type words struct {
	busy   func(net.Conn) // it cannot serve now
	login  func(net.Conn) // it wants to know who asks
	crowds func(net.Conn) // it has too many connections, says so and closes
	// strange are answers to requests that it does not know, or lets nobody make.
	strange func(net.Conn)
	forger  forger
}

// memcachedWords are those of memcached.
func memcachedWords() words {
	return words{
		memcachedSays("SERVER_ERROR out of memory"), memcachedSays("CLIENT_ERROR unauthenticated"), says("ERROR Too many open connections\r\n"),
		memcachedSays("ERROR"), forgeMemcached(),
	}
}

// redisWords are those of Redis.
func redisWords() words {
	return words{
		redisSays("-LOADING Redis is loading the dataset in memory"), redisSays("-NOAUTH Authentication required."),
		says("-ERR max number of clients reached\r\n"),
		redisSays("-ERR unknown command", "-NOPERM this user has no permissions to run this command", "-MOVED 1 127.0.0.1:1"), forgeRedis(),
	}
}

// httpWords are those of an HTTP server, or of a proxy before it.
func httpWords() words {
	return words{
		httpSays(http.StatusServiceUnavailable), httpSays(http.StatusUnauthorized),
		func(c net.Conn) { // not before it was asked: net/http would complain in the log
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				says("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")(c)
			}
		},
		httpSays(
			http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge,
			http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect,
		), forgeFrames(),
	}
}

// says says something and ends the connection.
func says(text string) func(net.Conn) {
	return func(c net.Conn) { _, _ = io.WriteString(c, text) }
}

// serve reads requests and answers each with the next of some texts.
func serve(read func(*bufio.Reader) error, texts ...string) func(net.Conn) {
	var answers atomic.Int64
	return func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			if err := read(r); err != nil {
				return
			}
			if _, err := io.WriteString(c, texts[int(answers.Add(1))%len(texts)]); err != nil {
				return
			}
		}
	}
}

// memcachedSays answers each command of the classic and the meta protocol.
func memcachedSays(text string) func(net.Conn) {
	return serve(func(r *bufio.Reader) error {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		fields := append(strings.Fields(line), "", "", "", "", "") // none is too short
		at, stores := map[string]int{"set": 4, "add": 4, "replace": 4, "append": 4, "prepend": 4, "cas": 4, "ms": 2}[fields[0]]
		if !stores {
			return nil
		}
		size, err := strconv.Atoi(fields[at])
		if err != nil {
			return err
		}
		_, err = r.Discard(size + len("\r\n"))
		return err
	}, text+"\r\n")
}

// redisSays answers each command, which is an array of strings, with the next of some texts.
func redisSays(texts ...string) func(net.Conn) {
	lines := make([]string, 0, len(texts))
	for _, text := range texts {
		lines = append(lines, text+"\r\n")
	}
	return serve(func(r *bufio.Reader) error {
		var parts int
		if _, err := fmt.Fscanf(r, "*%d\r\n", &parts); err != nil {
			return err
		}
		for range parts {
			var size int
			if _, err := fmt.Fscanf(r, "$%d\r\n", &size); err != nil {
				return err
			}
			if _, err := r.Discard(size + len("\r\n")); err != nil {
				return err
			}
		}
		return nil
	}, lines...)
}

// httpSays answers each request with the next of some statuses.
func httpSays(statuses ...int) func(net.Conn) {
	var texts []string
	for _, status := range statuses {
		texts = append(texts, fmt.Sprintf("HTTP/1.1 %d %s\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", status, http.StatusText(status)))
	}
	return serve(func(r *bufio.Reader) error {
		request, err := http.ReadRequest(r)
		if err != nil {
			return err
		}
		defer request.Body.Close()
		_, err = io.Copy(io.Discard, request.Body)
		return err
	}, texts...)
}
