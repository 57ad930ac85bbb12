# The project itself is not made here: who may make projects and who pays is decided elsewhere.

data "google_project" "this" {
  project_id = var.project_id
}

locals {
  labels = {
    app         = "pullwright"
    environment = var.environment
  }

  # a service's address is known before the service is: https://cloud.google.com/run/docs/triggering/https-request#deterministic
  address = { for name in [local.dispatcher, local.runner] :
    name => "https://${name}-${data.google_project.this.number}.${var.region}.run.app"
  }
  dispatcher_url = var.public_url != "" ? var.public_url : local.address[local.dispatcher]
  runner_url     = local.address[local.runner]
}

resource "google_project_service" "needed" {
  for_each = toset([
    "artifactregistry.googleapis.com",
    "billingbudgets.googleapis.com",
    "cloudbuild.googleapis.com",
    "cloudscheduler.googleapis.com",
    "cloudtasks.googleapis.com",
    "compute.googleapis.com",
    "dns.googleapis.com",
    "firestore.googleapis.com",
    "iam.googleapis.com",
    "logging.googleapis.com",
    "monitoring.googleapis.com",
    "run.googleapis.com",
    "secretmanager.googleapis.com",
    "storage.googleapis.com",
  ])
  service            = each.key
  disable_on_destroy = false # others in the project may use it too
}
