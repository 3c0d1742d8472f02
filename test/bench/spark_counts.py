"""Spark structured streaming doing the same count: per minute and city, from the same topic.

The most favourable way to run it: all of the topic in one micro-batch, two
local cores, two shuffle partitions, the result as Parquet once.
"""
import sys
import time

began = time.time()             # before the imports: they belong to the start-up

import os

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", "tools"))

import jars
from pyspark.sql import SparkSession, functions as f

HERE = os.path.dirname(os.path.realpath(__file__))
SCHEMA = "id long, created_at timestamp, author_id long, city string, place string, is_retweet boolean"


def main():
    bootstrap, topic, messages, directory = sys.argv[1:]
    spark = (SparkSession.builder.master("local[2]").appName("counts")
             .config("spark.jars", ",".join(jars.fetch(os.path.join(HERE, "spark.jars"))))
             .config("spark.driver.memory", "4g").config("spark.ui.enabled", "false")
             .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
             .config("spark.sql.shuffle.partitions", "2").getOrCreate())
    tweets = (spark.readStream.format("kafka").option("kafka.bootstrap.servers", bootstrap)
              .option("subscribe", topic).option("startingOffsets", "earliest").load()
              .select(f.from_json(f.col("value").cast("string"), SCHEMA).alias("t")).select("t.*"))
    counts = (tweets.groupBy(f.window("created_at", "1 minute"), f.coalesce("city", "place").alias("city"))
              .agg(f.count("*").alias("tweets"), f.sum(f.col("is_retweet").cast("int")).alias("retweets"),
                   f.approx_count_distinct("author_id").alias("authors")))
    started = time.time()
    query = (counts.writeStream.outputMode("update").trigger(availableNow=True)
             .option("checkpointLocation", f"{directory}/checkpoint")
             .foreachBatch(lambda batch, _: batch.write.mode("append").parquet(f"{directory}/counts")).start())
    query.awaitTermination()
    ended = time.time()
    counted = spark.read.parquet(f"{directory}/counts").agg(f.sum("tweets")).first()[0]
    print("wall", ended - started, sep="\t")
    print("with start-up", ended - began, sep="\t")
    print("counted", counted, sep="\t")
    spark.stop()
    if counted != int(messages):
        sys.exit(f"{counted} messages counted, not {messages}")


if __name__ == "__main__":
    main()
