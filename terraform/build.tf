# Who builds and deploys: may push images and replace them on the two services and the jobs, and nothing else.

resource "google_service_account" "build" {
  account_id   = "pullwright-build"
  display_name = "Pullwright: builds and deploys"
}

resource "google_artifact_registry_repository_iam_member" "build_pushes" {
  repository = google_artifact_registry_repository.images.name
  location   = var.region
  role       = "roles/artifactregistry.writer"
  member     = google_service_account.build.member
}

# what gcloud builds submit uploads
resource "google_storage_bucket" "source" {
  #checkov:skip=CKV_GCP_62:Uploads are read by one build and gone after a week.
  #checkov:skip=CKV_GCP_78:Every upload has a name of its own.
  name                        = "${var.project_id}-pullwright-source"
  location                    = var.region
  labels                      = local.labels
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true

  lifecycle_rule {
    action {
      type = "Delete"
    }
    condition {
      age = 7
    }
  }

  depends_on = [google_project_service.needed]
}

resource "google_storage_bucket_iam_member" "build_reads_source" {
  bucket = google_storage_bucket.source.name
  role   = "roles/storage.objectViewer"
  member = google_service_account.build.member
}

resource "google_cloud_run_v2_service_iam_member" "build_deploys" {
  for_each = {
    dispatcher = google_cloud_run_v2_service.dispatcher.name
    runner     = google_cloud_run_v2_service.runner.name
  }
  name     = each.value
  location = var.region
  role     = "roles/run.developer"
  member   = google_service_account.build.member
}

resource "google_cloud_run_v2_job_iam_member" "build_deploys" {
  for_each = google_cloud_run_v2_job.runner
  name     = each.value.name
  location = var.region
  role     = "roles/run.developer"
  member   = google_service_account.build.member
}

# to look at an image before it is deployed, and at the operation that deploys it
resource "google_project_iam_custom_role" "deployment_watcher" {
  role_id     = "pullwrightDeploymentWatcher"
  title       = "Pullwright: operations of deployments"
  permissions = ["run.operations.get", "run.locations.list", "run.services.list", "run.jobs.list"]
}

resource "google_project_iam_member" "build_watches" {
  project = var.project_id
  role    = google_project_iam_custom_role.deployment_watcher.id
  member  = google_service_account.build.member
}

resource "google_project_iam_member" "build_logs" {
  project = var.project_id
  role    = "roles/logging.logWriter"
  member  = google_service_account.build.member
}

# a new revision runs as the service's identity, so whoever makes it has to be allowed to act as that
resource "google_service_account_iam_member" "build_acts_as" {
  for_each = {
    dispatcher = google_service_account.dispatcher.name
    runner     = google_service_account.runner.name
  }
  service_account_id = each.value
  role               = "roles/iam.serviceAccountUser"
  member             = google_service_account.build.member
}

# the smoke test asks the runner for its health
resource "google_cloud_run_v2_service_iam_member" "build_smoke_tests" {
  name     = google_cloud_run_v2_service.runner.name
  location = var.region
  role     = "roles/run.invoker"
  member   = google_service_account.build.member
}
