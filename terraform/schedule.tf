# The clock of the control plane: nothing stays stuck because somebody looks.

locals {
  schedules = {
    sweep     = { cron = "* * * * *", path = "/internal/sweep", what = "Launches again what lost its runner, ends what ran out of time" }
    reconcile = { cron = "*/5 * * * *", path = "/internal/reconcile-deliveries", what = "Asks GitHub again for the webhooks that it could not deliver" }
  }
}

resource "google_cloud_scheduler_job" "this" {
  for_each         = local.schedules
  name             = "pullwright-${each.key}"
  description      = each.value.what
  region           = var.region
  schedule         = each.value.cron
  time_zone        = "Etc/UTC"
  attempt_deadline = "60s"

  retry_config {
    retry_count = 0 # the next tick is the retry
  }
  http_target {
    http_method = "POST"
    uri         = "${local.dispatcher_url}${each.value.path}"
    oidc_token {
      service_account_email = google_service_account.caller.email
      audience              = local.dispatcher_url
    }
  }

  depends_on = [google_project_service.needed]
}
