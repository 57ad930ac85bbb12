# Work on its way to a runner. All figures are written down: a new queue's defaults would send 500 tasks a second.

resource "google_service_account" "caller" {
  account_id   = "pullwright-caller"
  display_name = "Pullwright: identity of tasks and schedules"
}

locals {
  queues = {
    # a run is one request that stays open, so the queue's concurrency is the cap on runs
    runs = { attempts = 10, min_backoff = "5s", max_backoff = "300s", per_second = 5, concurrent = var.max_concurrent_runs }
    # calls of the dispatcher to itself, such as starting a job: a second each, and Cloud Run allows 180 starts a minute
    internal = { attempts = 20, min_backoff = "5s", max_backoff = "300s", per_second = 2, concurrent = 10 }
  }
}

resource "google_cloud_tasks_queue" "this" {
  for_each = local.queues
  name     = "pullwright-${each.key}"
  location = var.region

  rate_limits {
    max_dispatches_per_second = each.value.per_second
    max_concurrent_dispatches = each.value.concurrent
  }
  retry_config {
    max_attempts       = each.value.attempts
    max_retry_duration = "0s" # attempts alone decide; the sweeper asks again for what was given up
    min_backoff        = each.value.min_backoff
    max_backoff        = each.value.max_backoff
    max_doublings      = 6
  }
  stackdriver_logging_config {
    sampling_ratio = 1
  }

  depends_on = [google_project_service.needed]
}

resource "google_cloud_tasks_queue_iam_member" "dispatcher" {
  for_each = google_cloud_tasks_queue.this
  name     = each.value.name
  location = each.value.location
  role     = "roles/cloudtasks.enqueuer"
  member   = google_service_account.dispatcher.member
}

# a task may carry a token of the caller only if its maker may act as the caller
resource "google_service_account_iam_member" "dispatcher_acts_as_caller" {
  service_account_id = google_service_account.caller.name
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.dispatcher.member
}
