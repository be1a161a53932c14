// SPDX-License-Identifier: Apache-2.0

import ArgumentParser

/// The option that selects L1's kernel.
struct L1Options: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "The kernel of L1: \(KernelName.hosts), or a path.",
      discussion: "The path of a build tree, of an image with its modules beside it, or of a Debian package.")
  )
  var l1 = KernelName.newFull.rawValue

  func validate() throws { _ = try kernel() }

  /// Returns the kernel.
  func kernel(_ changes: L1Changes? = nil) throws -> L1Kernel {
    var kernel: L1Kernel
    do { kernel = try L1Kernel(argument: l1) } catch {
      throw ValidationError("--l1 \(l1): \(sentence(error))")
    }
    kernel.mutant = changes?.mutant
    kernel.iommufd = changes?.iommufd ?? false || kernel.mutant != nil
    if let mutant = kernel.mutant, case .local = kernel.source {
      throw ValidationError(
        "--mutant \(mutant.rawValue): not available for a kernel at a path; use --l1 6.12 or --l1 7.3")
    }
    return kernel
  }
}

/// The options that change the modules of L1's kernel.
struct L1Changes: ParsableArguments {
  @Flag(help: "Give L1 iommufd and the VFIO device files.") var iommufd = false
  @Option(help: "Build a fault into L1's VFIO: no-zap or no-revoke. L1 then has iommufd.")
  var mutant: ModuleMutant?
}

extension ModuleMutant: ExpressibleByArgument {}
