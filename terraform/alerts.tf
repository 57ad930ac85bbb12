# What somebody should look at, each with the sentence that says where to look.

locals {
  service_metric = "resource.type = \"cloud_run_revision\" AND resource.labels.service_name ="

  alerts = {
    door-errors = {
      title     = "The dispatcher answers with 5xx"
      look      = "`gcloud run services logs read ${local.dispatcher} --region ${var.region} --limit 100` has the errors. GitHub does not deliver again by itself."
      filter    = "${local.service_metric} \"${local.dispatcher}\" AND metric.type = \"run.googleapis.com/request_count\" AND metric.labels.response_code_class = \"5xx\""
      aligner   = "ALIGN_SUM"
      threshold = 5
      minutes   = 5
    }
    door-slow = {
      title     = "Answers of the dispatcher take longer than GitHub waits"
      look      = "GitHub gives up after 10 seconds. Look at cold starts (dispatcher.min_instances) and at the database; dispatch calls that wait for their run are meant to be slow and do not count in the median."
      filter    = "${local.service_metric} \"${local.dispatcher}\" AND metric.type = \"run.googleapis.com/request_latencies\" AND metric.labels.response_code_class = \"2xx\""
      aligner   = "ALIGN_PERCENTILE_50"
      threshold = 5000 # milliseconds
      minutes   = 15
    }
    queue-deep = {
      title     = "Runs wait for a runner"
      look      = "`gcloud tasks list --queue pullwright-runs --location ${var.region}` shows them. Raise max_concurrent_runs, or look at why runners are busy."
      filter    = "resource.type = \"cloud_tasks_queue\" AND resource.labels.queue_id = \"pullwright-runs\" AND metric.type = \"cloudtasks.googleapis.com/queue/depth\""
      aligner   = "ALIGN_MAX"
      threshold = 50
      minutes   = 15
    }
    tasks-refused = {
      title     = "Tasks fail"
      look      = "`gcloud logging read 'resource.type=cloud_tasks_queue' --limit 20` has the answers. 401 or 403: the caller lost run.invoker; 404: CLAUDE_CLOUD_RUN_URL is wrong."
      filter    = "resource.type = \"cloud_tasks_queue\" AND metric.type = \"cloudtasks.googleapis.com/queue/task_attempt_count\" AND metric.labels.response_code != \"200\" AND metric.labels.response_code != \"503\""
      aligner   = "ALIGN_SUM"
      threshold = 10
      minutes   = 10
    }
    jobs-failed = {
      title     = "Executions of runner jobs fail"
      look      = "`gcloud run jobs executions list --region ${var.region} --limit 20`, then the log of one that failed."
      filter    = "resource.type = \"cloud_run_job\" AND metric.type = \"run.googleapis.com/job/completed_execution_count\" AND metric.labels.result = \"failed\""
      aligner   = "ALIGN_SUM"
      threshold = 3
      minutes   = 60
    }
    runs-swept = {
      title     = "Runs keep losing their runner"
      look      = "`gcloud logging read 'jsonPayload.message=swept' --limit 20` names the runs; the runner's log says why it died."
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.swept.name}\""
      aligner   = "ALIGN_SUM"
      threshold = 5
      minutes   = 30
    }
    no-sweep = {
      title     = "Nobody sweeps"
      look      = "`gcloud scheduler jobs describe pullwright-sweep --location ${var.region}` says why. Without it, a lost run stays lost."
      filter    = "resource.type = \"cloud_run_revision\" AND metric.type = \"logging.googleapis.com/user/${google_logging_metric.sweep_calls.name}\""
      aligner   = "ALIGN_SUM"
      threshold = 0 # absence, not amount
      minutes   = 15
    }
  }
}

# the dispatcher writes this line for each run that it takes back
resource "google_logging_metric" "swept" {
  name   = "pullwright-runs-swept"
  filter = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.dispatcher}\" AND jsonPayload.message=\"swept\""
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_logging_metric" "sweep_calls" {
  name   = "pullwright-sweep-calls"
  filter = "resource.type=\"cloud_run_revision\" AND resource.labels.service_name=\"${local.dispatcher}\" AND httpRequest.requestUrl:\"/internal/sweep\" AND httpRequest.status=200"
  metric_descriptor {
    metric_kind = "DELTA"
    value_type  = "INT64"
  }
}

resource "google_monitoring_notification_channel" "email" {
  for_each     = toset(var.alert_emails)
  display_name = "Pullwright: ${each.key}"
  type         = "email"
  labels       = { email_address = each.key }

  depends_on = [google_project_service.needed]
}

resource "google_monitoring_alert_policy" "this" {
  for_each              = local.alerts
  display_name          = "Pullwright: ${each.value.title}"
  combiner              = "OR"
  user_labels           = local.labels
  notification_channels = [for channel in google_monitoring_notification_channel.email : channel.name]

  documentation {
    content   = each.value.look
    mime_type = "text/markdown"
  }

  conditions {
    display_name = each.value.title

    dynamic "condition_threshold" {
      for_each = each.value.threshold > 0 ? [1] : []
      content {
        filter          = each.value.filter
        comparison      = "COMPARISON_GT"
        threshold_value = each.value.threshold
        duration        = "0s"
        aggregations {
          alignment_period     = "${each.value.minutes * 60}s"
          per_series_aligner   = each.value.aligner
          cross_series_reducer = each.value.aligner == "ALIGN_SUM" ? "REDUCE_SUM" : "REDUCE_MAX"
        }
      }
    }
    dynamic "condition_absent" {
      for_each = each.value.threshold > 0 ? [] : [1]
      content {
        filter   = each.value.filter
        duration = "${each.value.minutes * 60}s"
        aggregations {
          alignment_period     = "300s"
          per_series_aligner   = each.value.aligner
          cross_series_reducer = "REDUCE_SUM"
        }
      }
    }
  }

  depends_on = [google_project_service.needed]
}
