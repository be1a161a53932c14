// SPDX-License-Identifier: Apache-2.0

@main
struct LabRunner {
  static func main() {}
}
