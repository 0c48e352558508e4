package sentinel_test

import (
	"fmt"

	"github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
	"github.com/holdfast-go/holdfast/sentinel/radixv2/sentinel"
)

func ExampleNewClientCustom() {
	df := func(network, addr string) (*redis.Client, error) {
		client, err := redis.Dial(network, addr)
		if err != nil {
			return nil, err
		}
		if err := client.Cmd("AUTH", "secret").Err; err != nil {
			_ = client.Close()
			return nil, err
		}
		return client, nil
	}
	client, err := sentinel.NewClientCustom("tcp", "sentinel-1:26379,sentinel-2:26379", 10, df, "bucket0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()

	conn, err := client.GetMaster("bucket0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.PutMaster("bucket0", conn)
	fmt.Println(conn.Cmd("GET", "foo").Str())
}
