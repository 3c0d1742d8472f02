"""Spark structured streaming doing the same count: per minute and city, from the same topic.

Two local cores, two shuffle partitions, results as Parquet. With a micro-batch
of 0 messages all of the topic is one micro-batch, the most favourable way to
run it, but there is no result before the end; else there is one after each.
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
    bootstrap, topic, messages, micro_batch, directory = sys.argv[1:]
    spark = (SparkSession.builder.master("local[2]").appName("counts")
             .config("spark.jars", ",".join(jars.fetch(os.path.join(HERE, "spark.jars"))))
             .config("spark.driver.memory", "4g").config("spark.ui.enabled", "false")
             .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
             .config("spark.sql.shuffle.partitions", "2").getOrCreate())
    source = (spark.readStream.format("kafka").option("kafka.bootstrap.servers", bootstrap)
              .option("subscribe", topic).option("startingOffsets", "earliest"))
    if int(micro_batch) > 0:
        source = source.option("maxOffsetsPerTrigger", micro_batch)
    tweets = (source.load()
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
    # a group is written again by each micro-batch that changes it
    latest = spark.read.parquet(f"{directory}/counts").groupBy("window", "city").agg(f.max("tweets").alias("tweets"))
    counted = latest.agg(f.sum("tweets")).first()[0]
    print("wall", ended - started, sep="\t")
    print("with start-up", ended - began, sep="\t")
    print("counted", counted, sep="\t")
    spark.stop()
    if counted != int(messages):
        sys.exit(f"{counted} messages counted, not {messages}")


if __name__ == "__main__":
    main()
