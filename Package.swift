// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("MemberImportVisibility"),
]

/// Returns a library target with the settings that every target shares.
func module(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

/// Returns a library target whose generic code is specialized for its users.
///
/// Because of this, an exit does not count references.
func specialized(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(
    name: name, dependencies: dependencies,
    swiftSettings: settings + [
      .unsafeFlags(["-cross-module-optimization"], .when(configuration: .release))
    ])
}

/// Returns the unit tests of one library target.
func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .testTarget(
    name: "\(name)Tests", dependencies: [.target(name: name)] + dependencies, swiftSettings: settings)
}

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let subprocess = Target.Dependency.product(name: "Subprocess", package: "swift-subprocess")
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")

let package = Package(
  name: "sluice",
  products: [.executable(name: "sluice", targets: ["sluice"])],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-system", from: "1.8.0"),
    .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.0", traits: []),
  ],
  targets: [
    .target(name: "CLinux"),
    .systemLibrary(name: "CSeccomp", pkgConfig: "libseccomp", providers: [.apt(["libseccomp-dev"])]),
    module("Seams"),
    module("Linux", ["CLinux", "Seams"]),
    module("GuestMemory", ["CLinux", "Linux", "Seams"]),
    module("KVM", ["CLinux", "Linux", "GuestMemory", "Seams"]),
    module("VFIO", ["CLinux", "Linux", "GuestMemory", "PCI", "Seams"]),
    module("VFIOUser", ["CLinux", "Linux", "Seams", "Trace"]),
    module("PCI"),
    module("Gate"),
    specialized("Passthrough", ["Linux", "GuestMemory", "PCI", "Gate", "Seams", "Trace"]),
    module("Boot", ["Linux", "GuestMemory", "Seams"]),
    module("Trace"),
    module("Sandbox", ["CLinux", "CSeccomp", "Linux"]),
    module(
      "VMM",
      [
        "Linux", "GuestMemory", "KVM", "VFIO", "VFIOUser", "PCI", "Gate", "Seams", "Passthrough", "Boot",
        "Sandbox", "Trace",
        logging,
      ]),
    .executableTarget(
      name: "sluice",
      dependencies: [
        "VMM", "Trace", "Gate", "Passthrough", "Boot", "KVM", "VFIO", "PCI", "Linux", "GuestMemory",
        "Sandbox", "Seams", argumentParser,
        logging,
      ],
      swiftSettings: settings),
    tests("Linux", ["Fakes"]),
    tests("GuestMemory", ["Linux"]),
    tests("KVM", ["CLinux", "Linux", "GuestMemory", "Seams"]),
    tests("VFIO", ["CLinux", "CProbes", "Linux", "Seams"]),
    .target(
      name: "VFIOUserServer",
      dependencies: ["CLinux", "Fakes", "Linux", "Sandbox", "VFIOUser", argumentParser],
      path: "Tests/VFIOUserServer",
      swiftSettings: settings),
    .executableTarget(
      name: "VFIOUserEdu", dependencies: ["VFIOUser", "VFIOUserServer", argumentParser],
      path: "Tests/VFIOUserEdu",
      swiftSettings: settings),
    .executableTarget(
      name: "VFIOUserNVMe", dependencies: ["Linux", "VFIOUser", "VFIOUserServer", argumentParser],
      path: "Tests/VFIOUserNVMe",
      swiftSettings: settings),
    tests(
      "VFIOUser",
      [
        "CLinux", "Fakes", "Linux", "Sandbox", "Seams", "TestTools", "VFIOUserEdu", "VFIOUserNVMe",
        "VFIOUserServer",
      ]),
    // The processes of the test servers, and guests of a few instructions.
    .target(
      name: "TestTools", dependencies: ["Linux"], path: "Tests/TestTools", swiftSettings: settings),
    tests("PCI"),
    tests("Gate"),
    // The fake implementations of the protocols of Seams.
    .target(name: "Fakes", dependencies: ["Linux", "Seams"], path: "Tests/Fakes", swiftSettings: settings),
    tests("Trace"),
    tests("Passthrough", ["Fakes", "Gate", "GuestMemory", "Linux", "PCI", "Seams", "Trace"]),
    tests("Boot", ["GuestMemory", "Seams", subprocess, system]),
    .target(name: "CProbes", path: "Tests/CProbes"),
    .target(
      name: "LayerActions", dependencies: ["CLinux", "Linux", "Sandbox"], path: "Tests/LayerActions",
      swiftSettings: settings),
    .executableTarget(
      name: "ConfinedThreads", dependencies: ["LayerActions", "Linux", "Sandbox"],
      path: "Tests/ConfinedThreads",
      swiftSettings: settings),
    tests(
      "Sandbox",
      [
        "CLinux", "CProbes", "ConfinedThreads", "LayerActions", "Linux", "Trace", "VMM", subprocess, system,
      ]),
    tests(
      "VMM",
      [
        "Boot", "CProbes", "Fakes", "Gate", "KVM", "Seams", "GuestMemory", "Linux", "PCI", "Passthrough",
        "Sandbox", "TestTools", "Trace", "VFIOUser", "VFIOUserEdu",
        logging,
      ]),
    tests(
      "sluice",
      [
        "VMM", "Fakes", "Gate", "Boot", "KVM", "VFIO", "Trace", "GuestMemory", "Linux", "PCI", "Passthrough",
        "Sandbox", "Seams", "TestTools", "VFIOUserEdu", "VFIOUserNVMe", argumentParser, subprocess, system,
      ]),
    .executableTarget(
      name: "LabRunner",
      dependencies: [
        argumentParser, subprocess, system, "Boot", "GuestMemory", "LayerActions", "Linux", "Sandbox",
        "Seams",
      ],
      path: "Tests/LabRunner",
      exclude: [
        "Bench/baseline", "Compare/differences", "Compare/differences.kvmtool", "Cases/Program/injections",
      ],
      swiftSettings: settings),
    tests("LabRunner"),
  ]
)
